"""TTrees and RNTuples as rows, on files that the tests write: values, links, counts, errors, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from honeyguide.data.events import EventBlock
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.event_store import EventStore, EventStoreWriter
from honeyguide.io.root_reader import RootFile, summarise
from honeyguide.io.root_tree import UnreadableFileError
from tests.root_files import JET_COUNTS, jets_tree, joined, read, reader_settings, write_ntuple, write_tree

FLAVOURS = {name: [{"Jet_hadronFlavour": [code]}] for name, code in (("b", 5), ("c", 4), ("light", 0))}
JETS: dict[str, Any] = {
    "rows": "objects",
    "columns": {"pt": "Jet_pt", "log_pt": "log(Jet_pt)", "met": "MET_pt", "ratio": "Jet_pt / sum(Jet_pt)"},
    "truths": {"definitions": FLAVOURS},
}
CANDIDATES = {"candidates": {"columns": {"pt": "Cand_pt"}, "row_index": "Cand_jetIdx"}}


def flat(array: ak.Array) -> np.ndarray:
    return ak.to_numpy(ak.flatten(array))


def same(first: EventBlock, second: EventBlock) -> None:
    assert set(first.events) == set(second.events)
    for name, column in first.events.items():
        np.testing.assert_array_equal(column, second.events[name])
        assert column.dtype == second.events[name].dtype
    for name, collection in first.collections.items():
        np.testing.assert_array_equal(collection.offsets, second.collections[name].offsets)
        for key, column in collection.columns.items():
            np.testing.assert_array_equal(column, second.collections[name].columns[key])


@pytest.mark.parametrize("write", [write_tree, write_ntuple])
def test_a_row_per_object(tmp_path: Path, write: Any) -> None:
    branches = jets_tree(5)
    path = write(tmp_path / "jets.root", branches, batches=3)
    block, file = read(path, reader_settings(**JETS))
    counts = np.tile(JET_COUNTS, 5)
    np.testing.assert_array_equal(block.events["pt"], flat(branches["Jet_pt"]))
    np.testing.assert_allclose(block.events["log_pt"], np.log(flat(branches["Jet_pt"])), rtol=1e-6)
    np.testing.assert_array_equal(block.events["met"], np.repeat(branches["MET_pt"], counts))
    sums = np.repeat(ak.to_numpy(ak.sum(branches["Jet_pt"], axis=1)), counts)
    np.testing.assert_allclose(block.events["ratio"], flat(branches["Jet_pt"]) / sums, rtol=1e-6)
    np.testing.assert_array_equal(block.events["entry"], np.repeat(np.arange(len(counts)), counts))
    np.testing.assert_array_equal(block.events["object"], np.concatenate([np.arange(count) for count in counts]))
    np.testing.assert_array_equal(block.events["id"], np.arange(counts.sum()))
    codes = {5: 0, 4: 1, 0: 2}
    expected = [codes[int(flavour)] for flavour in flat(branches["Jet_hadronFlavour"])]
    assert block.events["truth"].tolist() == expected
    assert file.truths == {name: expected.count(code) for code, name in enumerate(FLAVOURS)}
    assert (file.num_entries, file.num_rows, file.num_selected) == (40, counts.sum(), counts.sum())


@pytest.mark.parametrize("write", [write_tree, write_ntuple])
def test_objects_are_linked_to_their_rows(tmp_path: Path, write: Any) -> None:
    branches = jets_tree(4)
    path = write(tmp_path / "jets.root", branches)
    block, _ = read(path, reader_settings(**JETS, collections=CANDIDATES, cuts={"pt": "Jet_pt > 20"}))
    expected = [
        [pt for pt, place in zip(pts, places, strict=True) if place == jet]
        for jets, pts, places in zip(
            *(branches[n].to_list() for n in ("Jet_pt", "Cand_pt", "Cand_jetIdx")), strict=True
        )
        for jet, jet_pt in enumerate(jets)
        if jet_pt > 20
    ]
    candidates = block.collections["candidates"]
    assert sum(map(len, expected)) > 5
    assert ak.unflatten(candidates.columns["pt"], candidates.counts).to_list() == expected


def test_a_row_per_entry_with_its_objects(tmp_path: Path) -> None:
    branches = jets_tree(3)
    path = write_tree(tmp_path / "jets.root", branches)
    columns = {"met": "MET_pt", "leading": "max(Jet_pt)", "weight": "MET_pt / 10"}
    jets = {"jets": {"columns": {"pt": "Jet_pt", "pt_met": "Jet_pt * MET_pt"}}}
    block, file = read(path, reader_settings(columns=columns, collections=jets, cuts={"jets": "count(Jet_pt) >= 1"}))
    kept = np.tile(JET_COUNTS, 3) > 0
    np.testing.assert_array_equal(block.events["met"], branches["MET_pt"][kept])
    np.testing.assert_array_equal(block.events["leading"], ak.to_numpy(ak.max(branches["Jet_pt"][kept], axis=1)))
    np.testing.assert_allclose(block.events["weight"], branches["MET_pt"][kept] / 10)
    assert block.events["weight"].dtype == np.float64
    np.testing.assert_array_equal(block.events["id"], np.flatnonzero(kept))
    assert "entry" not in block.events
    found = block.collections["jets"]
    assert ak.unflatten(found.columns["pt"], found.counts).to_list() == branches["Jet_pt"][kept].to_list()
    np.testing.assert_allclose(found.columns["pt_met"], flat(branches["Jet_pt"] * branches["MET_pt"]))
    assert file.rejected == {"cut: jets": int((~kept).sum())}


def test_lists_within_lists_are_objects_of_rows(tmp_path: Path) -> None:
    tracks = ak.values_astype(ak.Array([[[1, 2], []], [], [[3]]]), np.float32)
    pt = ak.values_astype(ak.Array([[10, 20], [], [30]]), np.float32)
    path = write_ntuple(tmp_path / "jets.root", {"pt": pt, "tracks": tracks})
    collections = {"tracks": {"columns": {"d0": "tracks * 2"}}}
    columns = {"pt": "pt", "num": "count(tracks)", "sum": "sum(tracks)"}
    block, _ = read(
        path, reader_settings(rows="objects", columns=columns, collections=collections, cuts={"pt": "pt!=20"})
    )
    assert block.events["pt"].tolist() == [10, 30]
    assert block.events["num"].tolist() == [2, 1]
    assert block.events["sum"].tolist() == [3, 3]
    assert block.collections["tracks"].offsets.tolist() == [0, 2, 3]
    assert block.collections["tracks"].columns["d0"].tolist() == [2, 4, 6]


def test_arrays_of_fixed_size_are_lists(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = write_tree(tmp_path / "a.root", {"x": np.arange(4), "v": values, "flag": np.array([True, False] * 2)})
    collections = {"parts": {"columns": {"v": "v + x"}}}
    columns = {"x": "x", "sum": "sum(v)", "flag": "flag"}
    block, _ = read(path, reader_settings(columns=columns, collections=collections))
    np.testing.assert_array_equal(block.events["sum"], values.sum(axis=1))
    assert block.events["flag"].tolist() == [1, 0, 1, 0]
    assert block.collections["parts"].offsets.tolist() == [0, 3, 6, 9, 12]
    np.testing.assert_array_equal(block.collections["parts"].columns["v"], (values + np.arange(4)[:, None]).ravel())
    with pytest.raises(ConfigError, match="a list per entry"):
        read(path, reader_settings(columns={"v": "v"}))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_bytes=st.integers(1, 3000), batches=st.integers(1, 6), ntuple=st.booleans(), seed=st.integers(0, 99))
def test_blocks_change_nothing(tmp_path: Path, block_bytes: int, batches: int, ntuple: bool, seed: int) -> None:
    branches = jets_tree(3, seed)
    path = (write_ntuple if ntuple else write_tree)(tmp_path / "jets.root", branches, batches=batches)
    values = {**JETS, "collections": CANDIDATES, "cuts": {"pt": "Jet_pt > 15"}}
    whole, counts = read(path, reader_settings(**values))
    parts, counts_of_parts = read(path, reader_settings(**values, block_bytes=block_bytes))
    same(whole, parts)
    assert summarise([counts]) == summarise([counts_of_parts])
    assert counts.first_rejected == counts_of_parts.first_rejected


def test_small_blocks_are_small(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "jets.root", jets_tree(50), batches=2)
    sizes = [len(block) for block in RootFile(path, reader_settings(**JETS, block_bytes=500)).iter_blocks()]
    assert len(sizes) > 15
    assert max(sizes) < 60


def test_ids_begin_with_the_key(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "jets.root", jets_tree())
    file = RootFile(path, reader_settings(**JETS, block_bytes=60), id_key=7)
    assert joined(list(file.iter_blocks())).events["id"].tolist() == [
        (7 << 24) + row for row in range(JET_COUNTS.sum())
    ]


def test_one_bad_value_rejects_one_row(tmp_path: Path) -> None:
    branches = jets_tree(4)
    pt = flat(branches["Jet_pt"])
    eta = flat(branches["Jet_eta"])
    pt[3], pt[9], eta[9], eta[5] = np.inf, np.nan, np.nan, -np.inf
    counts = np.tile(JET_COUNTS, 4)
    branches |= {"Jet_pt": ak.unflatten(pt, counts), "Jet_eta": ak.unflatten(eta, counts)}
    path = write_tree(tmp_path / "jets.root", branches)
    values = {**JETS, "columns": {"pt": "Jet_pt", "eta": "Jet_eta"}, "cuts": {"pt": "Jet_pt > 1"}}
    block, file = read(path, reader_settings(**values, tolerance=0.2, block_bytes=200))
    assert np.delete(np.arange(len(pt)), [3, 5, 9]).tolist() == block.events["id"].tolist()
    assert file.rejected == {"not finite: Jet_pt": 2, "not finite: eta": 1}
    assert file.first_rejected["not finite: Jet_pt"] == f"{path}, entry 2, object 1"
    assert file.num_selected == len(pt) - 3
    with pytest.raises(DataError) as error:
        read(path, reader_settings(**values, tolerance=2.9 / len(pt)))
    assert f"3 of {len(pt)} rows" in str(error.value)
    assert "entry 2, object 1" in str(error.value)


def test_a_bad_value_of_an_object_rejects_its_row(tmp_path: Path) -> None:
    pt = np.arange(6, dtype=np.float32)
    pt[4] = np.nan
    path = write_tree(tmp_path / "a.root", {"x": np.arange(4), "v": ak.unflatten(pt, [2, 0, 1, 3])})
    values = {"columns": {"x": "x"}, "collections": {"parts": {"columns": {"v": "v"}}}, "tolerance": 0.5}
    block, file = read(path, reader_settings(**values))
    assert block.events["x"].tolist() == [0, 1, 2]
    assert block.collections["parts"].columns["v"].tolist() == [0, 1, 2]
    assert file.rejected == {"not finite: parts.v": 1}


def test_large_sums_are_finite(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.full(4, 3e38, np.float32)})
    assert len(read(path, reader_settings(columns={"x": "x"}))[0]) == 4


def test_rows_beyond_cuts_may_be_anything(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.array([-1.0, 2.0, 0.0]), "t": np.array([7, 5, 7])})
    truths = {"definitions": {"b": [{"t": [5]}]}, "unmatched": "error"}
    block, file = read(path, reader_settings(columns={"y": "log(x)"}, cuts={"positive": "x > 0"}, truths=truths))
    np.testing.assert_allclose(block.events["y"], np.log([2.0]))
    assert file.rejected == {"cut: positive": 2}


def test_cuts_count_in_their_order(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(10.0), "t": np.arange(10) % 2})
    cuts = {"low": "x > 2", "high": "x < 8", "both": "(x > 3) & (x < 9)"}
    _, file = read(path, reader_settings(columns={"x": "x"}, cuts=cuts, truths={"definitions": ["t"]}))
    assert file.rejected == {"cut: low": 3, "cut: high": 2, "cut: both": 1, "no truth": 2}
    assert file.truths == {"t": 2}


def test_a_cut_is_a_condition(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(3.0), "bits": np.arange(3)})
    assert read(path, reader_settings(columns={"x": "x"}, cuts={"bit": "bits & 1"}))[0].events["x"].tolist() == [1]
    with pytest.raises(ConfigError, match="no condition"):
        read(path, reader_settings(columns={"x": "x"}, cuts={"log": "log(x)"}))


def test_several_truths_are_counted(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"b": np.array([1, 1, 0]), "heavy": np.array([1, 0, 1])})
    values = {"columns": {"b": "b"}, "truths": {"definitions": ["b", "heavy"], "several": "first"}}
    block, file = read(path, reader_settings(**values))
    assert block.events["truth"].tolist() == [0, 0, 1]
    assert file.num_several == 1
    with pytest.raises(DataError, match="several truths"):
        read(path, reader_settings(columns={"b": "b"}, truths={"definitions": ["b", "heavy"]}))


def test_blocks_go_into_an_event_store(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "jets.root", jets_tree(4))
    file = RootFile(path, reader_settings(**JETS, collections=CANDIDATES, block_bytes=300), process="tt")
    sample = SampleInfo(name="tt", process="tt", generator="toy", label="background")
    with EventStoreWriter(tmp_path / "events.h5", sample=sample) as writer:
        for block in file.iter_blocks():
            writer.append(block)
        writer.finalise(read=file.num_rows, rejected=file.rejected)
    whole, _ = read(path, file.settings)
    with EventStore(tmp_path / "events.h5") as store:
        columns = {"events": [*whole.events], "candidates": ["pt"]}
        same(whole, joined(list(store.iter_blocks(7, columns))))


def test_counts_of_files_and_processes(tmp_path: Path) -> None:
    tree = jets_tree()
    paths = [write_tree(tmp_path / f"{name}.root", tree) for name in "abc"]
    files = [
        RootFile(path, reader_settings(**JETS, cuts={"pt": "Jet_pt > 30"}), process=process)
        for path, process in zip(paths, ["tt", "qcd", "tt"], strict=True)
    ]
    for file in files:
        assert sum(len(block) for block in file.iter_blocks()) == file.num_selected > 0
    counts = summarise(files)
    assert [item["name"] for item in counts["files"]] == [str(path) for path in paths]
    one, two = counts["processes"]["qcd"], counts["processes"]["tt"]
    assert (two["files"], two["read"], two["selected"]) == (2, 2 * one["read"], 2 * one["selected"])
    assert two["rejected"] == {"cut: pt": 2 * one["rejected"]["cut: pt"]}
    assert sum(one["truths"].values()) == one["selected"]


def test_a_missing_branch_names_the_nearest(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "jets.root", jets_tree(), tree="folder/Events")
    with pytest.raises(DataError) as error:
        read(path, reader_settings(tree="folder/Events", columns={"pt": "log(JET_PT)"}))
    assert "'JET_PT'" in str(error.value)
    assert error.value.details["nearest"].split(", ")[0] == "Jet_pt"
    assert error.value.details["where"] == f"{path}, folder/Events"


def test_a_missing_tree_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file["events"] = {"x": np.arange(3)}
        file["info"] = "text"
        file["counts"] = np.histogram(np.arange(3))
    with pytest.raises(DataError) as error:
        read(path, reader_settings(columns={"x": "x"}))
    assert error.value.details["nearest"] == "events"
    assert "info (TObjString)" in str(error.value.details["got"])
    with pytest.raises(DataError, match="'counts' is no TTree"):
        read(path, reader_settings(tree="counts", columns={"x": "x"}))


def damaged(path: Path, how: str) -> Path:
    content = bytearray(write_tree(path, {"x": np.random.default_rng(0).random(20_000)}, batches=10).read_bytes())
    if how == "end":
        content = content[:-40]
    elif how == "half":
        content = content[: len(content) // 2]
    elif how == "start":
        content = content[:200]
    elif how == "text":
        content = bytearray(b"no ROOT file at all, but some text")
    elif how == "empty":
        content = bytearray()
    else:
        middle = len(content) // 2
        content[middle : middle + 20_000] = b"\0" * 20_000
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("how", ["end", "half", "start", "text", "empty", "inside"])
def test_damaged_files_are_named_or_skipped_and_counted(tmp_path: Path, how: str) -> None:
    path = damaged(tmp_path / "bad.root", how)
    with pytest.raises(UnreadableFileError) as error:
        read(path, reader_settings(columns={"x": "x"}))
    assert str(path) in str(error.value.details["where"])
    file = RootFile(path, reader_settings(columns={"x": "x"}, unreadable="skip", block_bytes=16_000))
    num_read = sum(len(block) for block in file.iter_blocks())
    assert file.unreadable
    counts = summarise([file])["processes"][""]
    assert counts["unreadable_files"] == 1
    assert counts["read"] == num_read == file.num_entries_read
    if how == "inside":
        assert 0 < num_read < 20_000
        assert counts["entries_lost"] == 20_000 - num_read
        assert f"from entry {num_read} on" in file.unreadable


def test_a_missing_file_is_an_error_even_where_damaged_ones_are_skipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read(tmp_path / "none.root", reader_settings(columns={"x": "x"}, unreadable="skip"))


def test_xrootd_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec_xrootd", None)
    file = RootFile("root://host//store/a.root", reader_settings(columns={"x": "x"}, unreadable="skip"))
    with pytest.raises(DataError) as error:
        list(file.iter_blocks())
    assert "fsspec-xrootd" in str(error.value.details["hint"])


def test_lists_that_differ_are_named(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "jets.root", jets_tree())
    with pytest.raises(DataError, match=r"columns\.pt and columns\.cand"):
        read(path, reader_settings(rows="objects", columns={"pt": "Jet_pt", "cand": "Cand_pt"}))
    mixed = {"objects": {"columns": {"pt": "Jet_pt", "cand": "Cand_pt"}}}
    with pytest.raises(DataError, match=r"collections\.objects\.pt and collections\.objects\.cand"):
        read(path, reader_settings(columns={"met": "MET_pt"}, collections=mixed))
    with pytest.raises(ConfigError, match="all columns have one value per entry"):
        read(path, reader_settings(rows="objects", columns={"met": "MET_pt"}))
    with pytest.raises(ConfigError, match="not one value per row"):
        read(path, reader_settings(columns={"met": "MET_pt"}, truths={"definitions": ["Jet_hadronFlavour"]}))
    with pytest.raises(ConfigError, match="of other lengths"):
        read(path, reader_settings(**JETS, cuts={"cand": "Cand_pt > 0"}))
    wrong = {"candidates": {"columns": {"pt": "Cand_pt"}, "row_index": "Cand_jetIdx + 3"}}
    with pytest.raises(DataError, match="beyond the rows"):
        read(path, reader_settings(**JETS, collections=wrong))


def test_an_empty_tree_has_no_rows(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.zeros(0)})
    file = RootFile(path, reader_settings(columns={"x": "x"}))
    (block,) = file.iter_blocks()
    assert len(block) == 0
    assert set(block.events) == {"id", "weight", "x"}
    assert (file.num_rows, file.unreadable) == (0, None)


def test_only_needed_branches_are_read(tmp_path: Path) -> None:
    settings_ = reader_settings(**JETS, collections=CANDIDATES, cuts={"eta": "abs(Jet_eta) < 2"})
    assert settings_.branches == ("Jet_pt", "MET_pt", "Jet_eta", "Cand_pt", "Cand_jetIdx", "Jet_hadronFlavour")
    branches = {"x": np.arange(3), "broken": np.random.default_rng(0).random(3000)[:3000].reshape(3, 1000)}
    path = write_tree(tmp_path / "a.root", branches)
    with uproot.open(path) as file:
        seek, length = file["Events"]["broken"].member("fBasketSeek")[0], 1000
    content = bytearray(path.read_bytes())
    content[seek : seek + length] = b"\xff" * length
    path.write_bytes(content)
    assert len(read(path, reader_settings(columns={"x": "x"}))[0]) == 3
    with pytest.raises(UnreadableFileError):
        read(path, reader_settings(columns={"x": "sum(broken)"}))


@pytest.mark.parametrize(
    "values",
    [
        {"columns": {}},
        {"columns": {"id": "x"}},
        {"columns": {"a/b": "x"}},
        {"columns": {"x": "eval(x)"}},
        {"columns": {"x": "x"}, "cuts": {"a": "x >"}},
        {"columns": {"x": "x"}, "collections": {"events": {"columns": {"v": "v"}}}},
        {"columns": {"x": "x"}, "collections": {"parts": {"columns": {"offsets": "v"}}}},
        {"columns": {"x": "x"}, "collections": {"parts": {"columns": {"v": "v"}, "row_index": "i"}}},
        {"columns": {"x": "x"}, "colums": {}},
        {"columns": {"x": "x"}, "tolerance": 2},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reader_settings(**values)


def test_settings_load_nothing_heavy() -> None:
    code = "import sys, honeyguide.io.root_settings; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_memory_is_set_by_the_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    peaks = []
    for batches in (4, 32):
        branches = {f"x{i}": rng.random(batches * 25_000) for i in range(8)}
        path = write_tree(tmp_path / f"{batches}.root", branches, batches=batches)
        code = (
            "import sys; from pathlib import Path\n"
            "from honeyguide.io.root_reader import RootFile\n"
            "from honeyguide.io.root_settings import RootReaderSettings\n"
            "columns = {f'x{i}': f'x{i}' for i in range(8)}\n"
            "settings = RootReaderSettings(tree='Events', columns=columns, block_bytes=2**21)\n"
            "assert sum(map(len, RootFile(Path(sys.argv[1]), settings).iter_blocks())) > 0\n"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout) / 1024)
    # the larger file has 45 MB more
    assert peaks[1] - peaks[0] < 15
