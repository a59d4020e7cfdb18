"""Conversion of source files: ids, counts, copies, changed files; with a read-only and a full store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from honeyguide.data.sample import SampleInfo
from honeyguide.errors import DataError
from honeyguide.io import convert as convert_module
from honeyguide.io.atomic import atomic_folder, file_hash
from honeyguide.io.convert import ConversionCounts, convert_files
from honeyguide.io.event_store import EventStore
from honeyguide.io.settings import ReaderSettings

SAMPLE = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
ROOT = Path(__file__).parents[2]


def make_file(path: Path, seed: int, num_events: int = 20) -> Path:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_events):
        constituents = ",".join(f"22,{pt:.4g},0.1,{phi:.4g}" for pt, phi in rng.uniform(0, 6, (3, 2)))
        rows.append(f"{rng.exponential():.5g},100,1,1,3,0,{constituents}")
    path.write_text("\n".join(rows) + "\n")
    return path


def convert(files: list[Path], folder: Path, **options) -> tuple[ConversionCounts, np.ndarray]:
    folder.mkdir(exist_ok=True)
    others = options.pop("others", ())
    counts = convert_files(files, folder, sample=SAMPLE, settings=ReaderSettings(**options), others=others)
    with EventStore(folder / "events.h5") as store:
        return counts, np.concatenate([block.events["id"] for block in store.iter_blocks()] or [np.empty(0)])


def test_ids_are_unique_and_independent_of_name_and_order(tmp_path):
    files = [make_file(tmp_path / f"{seed}.csv", seed) for seed in range(4)]
    counts, ids = convert(files, tmp_path / "all")
    assert (counts.read, counts.selected, counts.rejected) == (80, 80, {})
    assert ids.dtype == np.int64
    assert np.all(ids >= 0)
    assert len(set(ids.tolist())) == 80
    assert np.array_equal(ids & (2**24 - 1), np.tile(np.arange(20), 4))
    _, backwards = convert(files[::-1], tmp_path / "backwards")
    assert set(backwards.tolist()) == set(ids.tolist())
    renamed = files[2].rename(tmp_path / "other_name.csv")
    _, alone = convert([renamed], tmp_path / "alone")
    assert np.array_equal(alone, ids[40:60])
    renamed.write_text(renamed.read_text() + "\n")
    _, changed = convert([renamed], tmp_path / "changed")
    assert not set(changed.tolist()) & set(ids.tolist()), "other content, other ids"


def test_sources_and_counts_are_recorded(tmp_path):
    good, bad = make_file(tmp_path / "good.csv", 1), make_file(tmp_path / "bad.csv", 2)
    bad.write_text(bad.read_text() + "1,nan,0,0\n1,2\n1,inf,0,0\n")
    counts, ids = convert([good, bad], tmp_path / "out", tolerance=0.2)
    assert (counts.read, counts.selected) == (43, 40)
    assert counts.rejected == {"nan_or_infinite": 2, "too_few_cells": 1}
    assert counts.first_rejected["nan_or_infinite"] == f"{bad}, line 21, cell 2: 'nan'"
    assert len(ids) == 40
    with EventStore(tmp_path / "out" / "events.h5") as store:
        assert store.attrs["rejected"] == counts.rejected
        assert store.attrs["sources"] == [
            {"name": file.name, "size": file.stat().st_size, "xxh3_128": file_hash(file)} for file in (good, bad)
        ]


def test_a_file_with_no_accepted_row_makes_an_empty_store(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("1,nan,0,0\n")
    counts, ids = convert([path], tmp_path / "out", tolerance=1.0)
    assert (counts.read, counts.selected, len(ids)) == (1, 0, 0)


@pytest.mark.parametrize("how", ["same path", "other spelling", "symbolic link"])
def test_the_same_file_twice_is_an_error(tmp_path, how):
    path = make_file(tmp_path / "a.csv", 1)
    again = {"same path": path, "other spelling": tmp_path / "x" / ".." / "a.csv", "symbolic link": tmp_path / "l.csv"}[
        how
    ]
    (tmp_path / "x").mkdir()
    if how == "symbolic link":
        again.symlink_to(path)
    for files, others in ([path, again], []), ([path], [path, again]):
        with pytest.raises(DataError, match="given twice") as caught:
            convert(files, tmp_path / "out", others=others)
        assert str(again) in str(caught.value)


def test_byte_identical_files_are_an_error_that_names_both(tmp_path):
    path = make_file(tmp_path / "background.csv", 1)
    copy = tmp_path / "signal.csv"
    copy.write_bytes(path.read_bytes())
    for files, others in ([path, copy], []), ([path], [copy]), ([copy], [path, copy]):
        with pytest.raises(DataError, match="byte-identical") as caught:
            convert(files, tmp_path / "out", others=others)
        assert str(path) in str(caught.value)
        assert str(copy) in str(caught.value)
    same_size = tmp_path / "same_size.csv"
    same_size.write_bytes(b"2" + path.read_bytes()[1:])
    convert([path], tmp_path / "out", others=[path, same_size, tmp_path / "missing.csv"])


def test_beads_signal_sample_is_found_to_be_its_background_sample(shared_data, tmp_path):
    files = sorted((shared_data / "bead").glob("*.csv"))
    with pytest.raises(DataError, match="byte-identical") as caught:
        convert([shared_data / "bead" / "sig_test_svj.csv"], tmp_path / "out", others=files)
    assert "sherpa.csv" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02", b"1,2\n"])
def test_a_bad_file_leaves_nothing_behind(tmp_path, content):
    good, bad = make_file(tmp_path / "good.csv", 1), tmp_path / "bad.csv"
    if content is not None:
        bad.write_bytes(content)
    store = tmp_path / "store"
    with pytest.raises(DataError, match=r"bad\.csv"), atomic_folder(store / "out") as folder:
        convert_files([good, bad], folder, sample=SAMPLE, settings=ReaderSettings())
    assert list(store.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    path = make_file(tmp_path / "growing.csv", 1)
    read_events = convert_module.BeadCsvFile.iter_blocks

    def grow_and_read(file):
        with path.open("a") as growing:
            growing.write("1,100,0,0\n")
        return read_events(file)

    monkeypatch.setattr(convert_module.BeadCsvFile, "iter_blocks", grow_and_read)
    with pytest.raises(DataError, match="changed while it was read"):
        convert([path], tmp_path / "out")


CONVERT_INTO = """
import sys
from pathlib import Path
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import StoreError
from honeyguide.io.atomic import atomic_folder
from honeyguide.io.convert import convert_files
from honeyguide.io.settings import ReaderSettings

sample = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
try:
    with atomic_folder(Path(sys.argv[2])) as folder:
        convert_files([Path(sys.argv[1])], folder, sample=sample, settings=ReaderSettings())
except StoreError as error:
    sys.exit(str(error))
"""


def convert_on_tmpfs(folder: Path, options: str, source: Path) -> subprocess.CompletedProcess[str]:
    """Converts into a small tmpfs that is mounted on ``folder`` for this call alone, and prints what is there then."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o {options} tmpfs {folder}"
    try:
        probe = subprocess.run(["unshare", "--mount", *mount.split()], capture_output=True, text=True, check=False)
        refused = probe.stderr.strip() if probe.returncode else None
    except FileNotFoundError as error:
        refused = str(error)
    if refused is not None:
        pytest.skip(f"mounting a tmpfs is not permitted here: {refused}")
    script = f'{mount} && "$0" -c "$1" "$2" {folder}/out; code=$?; ls -A {folder}; exit $code'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, CONVERT_INTO, str(source)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_full_store_is_a_clear_error_and_stays_empty(tmp_path):
    source = make_file(tmp_path / "large.csv", 1, num_events=20000)
    result = convert_on_tmpfs(tmp_path / "store", "size=256k", source)
    assert result.returncode == 1, result.stderr
    assert "No space left" in result.stderr
    assert result.stdout == "", "nothing is left"


def test_a_read_only_store_is_a_clear_error(tmp_path):
    source = make_file(tmp_path / "a.csv", 1)
    result = convert_on_tmpfs(tmp_path / "store", "ro", source)
    assert result.returncode == 1, result.stderr
    assert "Read-only file system" in result.stderr
