"""The page is one valid file that needs no other, names every plot, and fits a phone."""

from __future__ import annotations

import base64
import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from honeyguide.diagnostics.page import render
from honeyguide.diagnostics.run import write_report
from honeyguide.diagnostics.section import Plot, Section, Table, not_made

EMPTY = {"meta", "img", "link", "br"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Reader(HTMLParser):
    """Collects tags and refuses what is not well nested."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        """Opens a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        """Closes the tag that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        """Keeps the text."""
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_page_needs_nothing_else_and_every_plot_can_be_read(page: Path, looked) -> None:
    text = (page / "index.html").read_text()
    assert not re.search(r"https?://", text)
    reader = read(text)
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == sum(bool(section.plots) for section in looked.sections.values())
    for attributes in images:
        kind, _, content = (attributes["src"] or "").partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")
        assert len(attributes["alt"] or "") > 20
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        assert all((attributes.get(name) or "#").startswith(("#", "data:")) for name in ("src", "href"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert {link[1:] for link in links if link} <= set(ids)
    assert {section.title for section in looked.sections.values()} <= {part.strip() for part in reader.text.split("\n")}


def test_numbers_are_in_the_json_file(page: Path, looked) -> None:
    content = json.loads((page / "diagnostics.json").read_text())
    assert content["label"] == looked.sources.label
    assert list(content["sections"]) == list(looked.sections)
    for name, section in looked.sections.items():
        assert content["sections"][name]["warnings"] == list(section.warnings)
        assert set(content["sections"][name]["data"]) == set(section.data)
    for section in content["sections"].values():
        for name in section["plots"]:
            assert (page / "plots" / f"{name}.png").is_file()
            assert (page / "plots" / f"{name}.pdf").is_file()


def test_warnings_come_before_everything_else() -> None:
    bad = Section("b", "Second", "text", {}, warnings=("the worst",))
    text = render([Section("a", "First", "text", {}), bad], {}, label="x")
    assert text.index("1 warning<") < text.index("the worst") < text.index('<section id="a"')
    assert "Nothing was found to be wrong" in render([Section("a", "First", "text", {})], {}, label="x")


def test_what_is_not_made_says_why() -> None:
    text = read(render([not_made("a", "First", "there is no sigma.")], {}, label="x")).text
    assert "Not made: there is no sigma." in text


def test_names_can_hold_anything(tmp_path: Path) -> None:
    nasty = "<script>\"&'</script>"
    plot = Plot("p", nasty, nasty, Figure(figsize=(2, 2)))
    table = Table(nasty, (nasty, "x"), ((nasty, 1.23456e-9), (nasty, None)))
    section = Section("s", nasty, nasty, {nasty: math.nan, "x": [math.inf, 1]}, (plot,), (table,), (nasty,))
    write_report([section], tmp_path, label=nasty)
    reader = read((tmp_path / "index.html").read_text())
    assert "script" not in [tag for tag, _ in reader.tags]
    assert nasty in reader.text
    assert "1.235e-09" in reader.text
    data = json.loads((tmp_path / "diagnostics.json").read_text())["sections"]["s"]["data"]
    assert data == {nasty: None, "x": [None, 1]}


def test_long_tables_are_folded() -> None:
    rows = tuple((f"row {i}", i) for i in range(40))
    reader = read(render([Section("s", "S", "t", {}, (), (Table("long", ("a", "b"), rows),))], {}, label="x"))
    assert "details" in [tag for tag, _ in reader.tags]


@pytest.mark.parametrize("width", [390, 1440])
def test_page_is_no_wider_than_the_screen(page: Path, tmp_path: Path, width: int) -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    assert scroll_width((page / "index.html").read_text(), tmp_path, width) == (width, width)


def test_wide_content_does_not_widen_a_phone(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    long = "a_very_long_name_without_any_space_" * 6
    table = Table(long, tuple(f"{long}{i}" for i in range(30)), (tuple(range(30)), (long, *range(29))))
    section = Section(long, long, long, {}, tables=(table,), warnings=(long,))
    assert scroll_width(render([section], {}, label=long), tmp_path, 390) == (390, 390)
    # the check itself sees what is too wide
    wide = render([section], {}, label="x").replace("<main>", '<main><div style="width:900px">x</div>')
    assert scroll_width(wide, tmp_path, 390)[1] > 390


def scroll_width(text: str, folder: Path, width: int) -> tuple[int, int]:
    """Returns the width of a page's window and of its content; in a frame, since windows have a least width."""
    script = (
        "addEventListener('load', () => { const page = document.querySelector('iframe').contentDocument"
        ".documentElement; document.body.dataset.widths = [page.clientWidth, page.scrollWidth].join() })"
    )
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}"></iframe>'
    file = folder / f"frame{width}.html"
    file.write_text(f"<!DOCTYPE html><body>{frame}<script>{script}</script></body>", encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-widths="(\d+),(\d+)"', shown)
    assert found, "the page has not been loaded"
    return int(found[1]), int(found[2])
