"""Filelists, globs, URLs, and the samples of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from honeyguide.errors import ConfigError, DataError
from honeyguide.io.root_sources import assign_samples, find_sources, read_filelist

SAMPLES = {"tt_hadronic": ["*TTto4Q*"], "tt": ["re:/TT_[0-9]+/"], "qcd": ["*/QCD_low/*", "*/QCD_high/*"]}


def touched(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_filelist(tmp_path: Path) -> None:
    a, b, c = touched(tmp_path, "lists/a.root", "lists/sub/b.root", "lists/sub/c.root")
    filelist = tmp_path / "lists" / "files.txt"
    url = "root://host.example//store/x.root"
    filelist.write_text(f"# comment\n\n  sub/*.root \r\n{a}\n{url}\n   # another\n", encoding="utf-8-sig")
    assert read_filelist(filelist) == [b, c, a, url]


def test_bad_filelists(tmp_path: Path) -> None:
    filelist = tmp_path / "files.txt"
    with pytest.raises(DataError, match="can't be read"):
        read_filelist(filelist)
    filelist.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="can't be read"):
        read_filelist(filelist)
    filelist.write_text("# nothing\n")
    with pytest.raises(DataError, match="names no file"):
        read_filelist(filelist)
    filelist.write_text("nowhere/*.root\n")
    with pytest.raises(DataError) as error:
        read_filelist(filelist)
    assert error.value.details["got"] == "nowhere/*.root"
    assert error.value.details["where"] == filelist


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    touched(tmp_path, "a.root")
    for entries in (["a.root", "*.root"], ["root://h//a.root", "root://h//a.root"]):
        with pytest.raises(DataError, match="listed twice"):
            find_sources(entries, tmp_path)


def test_samples_by_glob_and_regex() -> None:
    sources = [
        Path("/d/TTto4Q/1.root"),
        Path("/d/TT_8/1.root"),
        Path("/d/QCD_low/1.root"),
        "root://h//d/QCD_high/1.root",
    ]
    assert list(assign_samples(sources, SAMPLES).values()) == ["tt_hadronic", "tt", "qcd", "qcd"]


def test_a_file_of_no_sample_or_of_two_is_refused() -> None:
    good = [Path("/d/TTto4Q/1.root"), Path("/d/TT_8/1.root"), Path("/d/QCD_low/1.root")]
    with pytest.raises(DataError) as error:
        assign_samples([*good, Path("/d/DY/1.root")], SAMPLES)
    assert "no sample" in str(error.value)
    assert error.value.details["where"] == Path("/d/DY/1.root")
    with pytest.raises(DataError) as error:
        assign_samples([*good, Path("/d/QCD_low/TTto4Q.root")], SAMPLES)
    assert error.value.details["got"] == "tt_hadronic, qcd"


def test_a_sample_may_have_no_file() -> None:
    assert assign_samples([Path("/d/TT_8/1.root")], {"tt": ["re:TT"], "qcd": ["*QCD*"]}) == {
        Path("/d/TT_8/1.root"): "tt"
    }


def test_a_broken_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match="regular expression"):
        assign_samples([Path("/d/TT_8/1.root")], {"tt": ["re:TT_("]})
