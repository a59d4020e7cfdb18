"""The recipes of CONTRIBUTING.md as if they had been followed, and the files of the tutorial."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import honeyguide.evaluation
import models
import tasks
from tests.docs.pages import blocks, text_of

EXPLAIN = "docs/export-and-explain.md"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the recipes' files; ``models``, ``tasks`` and ``honeyguide.evaluation`` hold them as well."""
    folder = tmp_path_factory.mktemp("recipes")
    before = set(sys.modules)
    found = blocks(text_of("CONTRIBUTING.md"))
    for block in found:
        if "/" in block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    with pytest.MonkeyPatch.context() as patch:
        for package in (models, tasks, honeyguide.evaluation):
            below = folder.joinpath(*package.__name__.split("."))
            patch.setattr(package, "__path__", [*package.__path__, str(below)])
        for name, value in ast.literal_eval("{" + line_of(found, "models.linear") + "}").items():
            patch.setitem(models.REGISTRY, name, value)
        yield folder
    for name in set(sys.modules) - before:
        if name.startswith(("models.linear", "tasks.cutflow", "honeyguide.evaluation.cutflow")):
            del sys.modules[name]


def line_of(found: list, part: str) -> str:
    """Returns the one block of one line with ``part`` in it."""
    (line,) = [block.text for block in found if part in block.text and block.text.count("\n") == 1]
    return line


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the YAML files of README, tutorial and study, as working directory."""
    pages = (
        "README.md",
        "docs/tutorial.md",
        "docs/tagging-tutorial.md",
        "docs/enrichment.md",
        "docs/training.md",
        EXPLAIN,
    )
    for page in pages:
        for block in blocks(text_of(page)):
            if block.file.endswith(".yaml"):
                (tmp_path / block.file).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
