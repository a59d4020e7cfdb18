"""What the pages say, in pieces that can be tried."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it shows (a line before it, or a comment on its first line), text."""

    language: str
    file: str
    text: str


def text_of(name: str) -> str:
    """Returns a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Returns the fenced blocks of a page's text."""
    found = []
    for path, language, text in re.findall(r"(?m)(?:^`([\w./-]+)`:\n\n)?^```(\w*)\n(.*?)^```$", page, re.DOTALL):
        comment = re.match(r"# ([\w.-]+\.(?:yaml|py))\b", text)
        found.append(Block(language, path or (comment[1] if comment else ""), text))
    return found


def law_runs(text: str) -> list[tuple[str, ...]]:
    """Returns the words after ``law run`` of every such command in shell blocks, inline code or docstrings."""
    commands = re.findall(r"law run ([A-Z]\w+[^`\n]*)", text)
    return [tuple(shlex.split(command, comments=True)) for command in commands]


def task_names() -> set[str]:
    """Returns the names of the tasks that ``law index`` finds, by the modules that law.cfg lists."""
    import law

    lines = text_of("law.cfg").split("[modules]")[1].split("[")[0].splitlines()
    modules = [line for line in lines if re.fullmatch(r"(tasks|workflows)\.\w+", line)]
    found = set()
    for module in modules:
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, law.Task) and value.__module__ == module:
                found.add(value.__name__)
    return {name for name in found if name.endswith("Task")}  # the others only hold parameters
