"""ROOT files into the event store: the same rows however files are cut, truths, counts, ids, copies."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from distributed import LocalCluster

from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.convert import ConversionCounts, convert_files
from honeyguide.io.event_store import EventStore
from honeyguide.io.settings import ReaderSettings
from tests.root_files import JET_COUNTS, jets_tree, joined, reader_settings, write_ntuple, write_tree

SAMPLE = SampleInfo(name="tt", process="tt", generator="toy", label="background")
FLAVOURS = {name: [{"Jet_hadronFlavour": [code]}] for name, code in (("b", 5), ("c", 4))}
JETS: dict[str, Any] = {
    "rows": "objects",
    "columns": {"pt": "Jet_pt", "met": "MET_pt"},
    "collections": {"candidates": {"columns": {"pt": "Cand_pt"}, "row_index": "Cand_jetIdx"}},
    "cuts": {"pt": "Jet_pt > 20"},
    "truths": {"definitions": FLAVOURS},
}


def convert(
    folder: Path, files: list[Any], values: dict[str, Any] | None = None, **reader: Any
) -> tuple[Any, ConversionCounts]:
    """Returns all rows of the files, shard by shard, and their counts."""
    folder.mkdir()
    settings = ReaderSettings(format="root", root=reader_settings(**(values or JETS)), **reader)
    counts = convert_files(files, folder, sample=SAMPLE, settings=settings, others=files)
    blocks = []
    for shard in sorted(folder.glob("events*.h5")):
        with EventStore(shard) as store:
            assert store.attrs["truths"] == ["b", "c"]
            blocks += list(store.iter_blocks())
    return joined(blocks), counts


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    first = write_tree(tmp_path / "a.root", jets_tree(6, seed=1), batches=5)
    return [first, write_ntuple(tmp_path / "b.root", jets_tree(4, seed=2), batches=3)]


@pytest.mark.parametrize("chunk_size", [1, 7, 48])
def test_chunks_change_nothing(tmp_path: Path, files: list[Path], chunk_size: int) -> None:
    whole, counts = convert(tmp_path / "whole", files)
    parts, counts_of_parts = convert(tmp_path / "parts", files, chunk_size=chunk_size)
    assert counts == counts_of_parts
    assert set(whole.events) == set(parts.events)
    for name, column in whole.events.items():
        np.testing.assert_array_equal(column, parts.events[name])
    np.testing.assert_array_equal(whole.collections["candidates"].offsets, parts.collections["candidates"].offsets)
    for name, column in whole.collections["candidates"].columns.items():
        np.testing.assert_array_equal(column, parts.collections["candidates"].columns[name])


def test_counts_by_file_process_truth_and_reason(tmp_path: Path, files: list[Path]) -> None:
    block, counts = convert(tmp_path / "out", files, chunk_size=10)
    assert counts.read == 10 * JET_COUNTS.sum()
    assert counts.selected == len(block) == sum(counts.truths.values())
    assert counts.truths == {"b": int((block.events["truth"] == 0).sum()), "c": int((block.events["truth"] == 1).sum())}
    assert set(counts.rejected) == {"cut: pt", "no truth"}
    assert counts.read - counts.selected == sum(counts.rejected.values())
    summary = counts.summary()
    assert [Path(file["name"]).name for file in summary["files"]] == ["a.root", "b.root"]
    assert summary["processes"]["tt"]["files"] == 2
    assert sum(file["read"] for file in summary["files"]) == summary["processes"]["tt"]["read"] == counts.read


def test_rows_of_an_entry_are_a_group_and_ids_are_the_files_own(tmp_path: Path, files: list[Path]) -> None:
    block, _ = convert(tmp_path / "out", files)
    other, _ = convert(tmp_path / "other", files[::-1], chunk_size=9)
    for name in ("id", "group"):
        np.testing.assert_array_equal(np.sort(block.events[name]), np.sort(other.events[name]))
    keys = block.events["id"] >> 24
    assert len(set(keys)) == 2
    np.testing.assert_array_equal(block.events["group"], (keys << 24) + block.events["entry"])


def test_a_group_may_be_a_branch(tmp_path: Path) -> None:
    events = np.array([7, 7, 2**40 + 1, 9])
    path = write_tree(tmp_path / "a.root", {"event": events, "pt": np.arange(4.0), "flavour": np.full(4, 5)})
    truths = {"definitions": {"b": [{"flavour": 5}], "c": [{"flavour": 4}]}}
    values = {"columns": {"pt": "pt"}, "group": "event", "truths": truths}
    assert convert(tmp_path / "out", [path], values)[0].events["group"].tolist() == events.tolist()
    with pytest.raises(Exception, match="no whole number"):
        convert(tmp_path / "wrong", [path], {**values, "group": "pt"})


def test_tolerance_is_of_the_whole_file(tmp_path: Path) -> None:
    x = np.arange(40.0)
    x[39] = np.nan
    path = write_tree(tmp_path / "a.root", {"x": x, "flavour": np.full(40, 5)})
    truths = {"definitions": {"b": [{"flavour": 5}], "c": [{"flavour": 4}]}}
    values = {"columns": {"x": "x"}, "truths": truths, "tolerance": 0.03}
    block, counts = convert(tmp_path / "out", [path], values, chunk_size=4)
    assert len(block) == 39
    assert counts.first_rejected == {"not finite: x": f"{path}, entry 39"}
    with pytest.raises(DataError, match="1 of 40 rows"):
        convert(tmp_path / "strict", [path], {**values, "tolerance": 0.02}, chunk_size=4)


def test_a_copy_of_a_file_is_refused(tmp_path: Path, files: list[Path]) -> None:
    copy = tmp_path / "copy.root"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(DataError, match="byte-identical"):
        convert(tmp_path / "out", [*files, copy])


def test_identities_stand_for_bytes(tmp_path: Path) -> None:
    """A simulated file has the time in it: what it is made from says which one it is."""
    paths = [write_tree(tmp_path / f"{name}.root", jets_tree()) for name in "ab"]
    ids = []
    for path in paths:
        folder = tmp_path / f"out-{path.stem}"
        folder.mkdir()
        settings = ReaderSettings(format="root", root=reader_settings(**JETS))
        convert_files([path], folder, sample=SAMPLE, settings=settings, identities={path: "digest"})
        with EventStore(folder / "events-00000.h5") as store:
            (block,) = store.iter_blocks()
            ids.append(block.events["id"])
    assert paths[0].read_bytes() != paths[1].read_bytes()
    np.testing.assert_array_equal(*ids)


def test_what_comes_after_a_gap_is_left_out(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", jets_tree(6), batches=6)
    content = bytearray(path.read_bytes())
    with uproot.open(path) as file:
        seek = file["Events"]["Jet_pt"].member("fBasketSeek")[3]
    content[seek : seek + 200] = b"\xff" * 200
    path.write_bytes(content)
    values = {**JETS, "unreadable": "skip"}
    fine, coarse = (convert(tmp_path / f"out{size}", [path], values, chunk_size=size) for size in (8, 16))
    for block, counts in (fine, coarse):
        (file,) = counts.details["files"]
        assert file["unreadable"] is not None
        assert file["entries"] == 48
        assert file["entries_lost"] >= 24
        assert len(block) == counts.selected > 0
    assert fine[0].events["entry"].max() == 23
    assert set(coarse[0].events["id"]) < set(fine[0].events["id"])
    with pytest.raises(DataError, match="truncated, damaged"):
        convert(tmp_path / "error", [path], chunk_size=8)


def test_a_file_that_can_not_be_opened_is_counted_and_leaves_no_shard(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "bad.root").write_bytes(files[0].read_bytes()[:500])
    block, counts = convert(tmp_path / "out", [*files, tmp_path / "bad.root"], {**JETS, "unreadable": "skip"})
    assert counts.details["processes"]["tt"]["unreadable_files"] == 1
    assert len(block) == counts.selected > 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_debug_is_one_chunk(tmp_path: Path, files: list[Path]) -> None:
    block, counts = convert(tmp_path / "out", files[:1], chunk_size=10, debug=True)
    assert counts.details["files"][0]["entries"] == 9  # a basket, since ranges end where baskets do
    assert block.events["entry"].max() < 9


def same(first: tuple[Any, ConversionCounts], second: tuple[Any, ConversionCounts]) -> None:
    assert first[1] == second[1]
    for name, column in first[0].events.items():
        np.testing.assert_array_equal(column, second[0].events[name])
    for name, column in first[0].collections["candidates"].columns.items():
        np.testing.assert_array_equal(column, second[0].collections["candidates"].columns[name])


def test_futures_of_two_workers_give_what_one_process_gives(tmp_path: Path, files: list[Path]) -> None:
    one = convert(tmp_path / "one", files, chunk_size=11)
    two = convert(tmp_path / "two", files, chunk_size=11, workers=2)
    same(one, two)
    assert len(list((tmp_path / "two").glob("*.h5"))) > len(files)


def test_a_dask_cluster_gives_what_one_process_gives(tmp_path: Path, files: list[Path]) -> None:
    one = convert(tmp_path / "one", files, chunk_size=11)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        two = convert(tmp_path / "two", files, chunk_size=11, executor="dask", scheduler=address)
        with pytest.raises(DataError, match="no branch 'Jet_wrong'"):
            convert(tmp_path / "x", files, {**JETS, "columns": {"a": "Jet_wrong"}}, executor="dask", scheduler=address)
    same(one, two)


def test_no_scheduler_is_an_error(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        convert(tmp_path / "out", files, executor="dask", scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_is_raised_and_the_rest_is_left_out(
    tmp_path: Path, files: list[Path], workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {**JETS, "truths": {"definitions": FLAVOURS, "unmatched": "error"}, "cuts": {"pt": "Jet_pt > 0"}}
    with pytest.raises(DataError, match="rows match no truth"):
        convert(tmp_path / "out", files, values, chunk_size=4, workers=workers)
    assert "Traceback" not in capfd.readouterr().err
    assert len(list((tmp_path / "out").glob("*.h5"))) < 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the files in ``tmp_path``."""
    handler = functools.partial(RangeHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves ranges of files, as servers of ROOT files do."""

    def do_GET(self) -> None:
        """Answers with one range of bytes."""
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Says nothing on the terminal."""


def test_remote_files(tmp_path: Path, files: list[Path], server: str) -> None:
    urls = [f"{server}/{file.name}" for file in files]
    remote, counts = convert(tmp_path / "remote", urls)
    local, _ = convert(tmp_path / "local", files)
    np.testing.assert_array_equal(remote.events["pt"], local.events["pt"])
    assert len(set(remote.events["id"])) == len(remote)
    assert [file["name"] for file in counts.details["files"]] == urls
    with pytest.raises(DataError, match="given twice"):
        convert(tmp_path / "twice", [urls[0], urls[0]])


@pytest.mark.skipif(find_spec("fsspec_xrootd") is not None, reason="fsspec-xrootd is installed")
def test_xrootd_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pip install fsspec-xrootd"):
        convert(tmp_path / "out", ["root://host.example//store/a.root"])
