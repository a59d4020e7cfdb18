"""Padded arrays in, rows with particles out: the same whatever the file, its layout and blocks; wrong files named."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from honeyguide.data.events import EventBlock
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import DataError
from honeyguide.io.array_files import UnreadableArraysError
from honeyguide.io.convert import ConversionCounts, convert_files
from honeyguide.io.event_store import EventStore
from honeyguide.io.settings import ReaderSettings
from tests.array_files import Arrays, particles, write_hdf5, write_npz, write_table

SAMPLE = SampleInfo(name="jets", process="jets", generator="toy", label="background")
TRUTHS = {"definitions": {"qcd": [{"label": 0}], "top": [{"label": 1}]}, "unmatched": "error"}
ARRAYS: dict[str, Any] = {
    "vectors": "vectors",
    "mask": "mask",
    "particles": {"d0": "tanh(d0)"},
    "columns": {"tau": "tau", "num": "count(particles.px)"},
    "truths": TRUTHS,
}
TABLE: dict[str, Any] = {
    "table": "table",
    "vectors": ["PX_*", "PY_*", "PZ_*", "E_*"],
    "truths": {"definitions": {"qcd": [{"is_signal_new": 0}], "top": [{"is_signal_new": 1}]}},
}


def convert(file: Path, reader: dict[str, Any] | None = None, **options: Any) -> tuple[EventBlock, ConversionCounts]:
    """Returns all rows of a file, and their counts."""
    section = {"format": "arrays", "arrays": reader or ARRAYS, **options}
    folder = file.parent / f"{file.name}-store"
    folder.mkdir()
    settings = ReaderSettings.model_validate_json(json.dumps(section))
    counts = convert_files([file], folder, sample=SAMPLE, settings=settings)
    with EventStore(folder / "events.h5") as store:
        assert store.attrs["read"] == counts.read
        (block,) = store.iter_blocks() if store.num_events else (EventBlock({"id": np.empty(0)}),)
    return block, counts


def check_rows(block: EventBlock, arrays: Arrays, *, further: bool = True) -> None:
    """Rows and particles are those of the arrays, by a loop over rows."""
    found = block.collections["particles"]
    assert len(block) == len(arrays["vectors"])
    for row, (four, mask) in enumerate(zip(arrays["vectors"], arrays["mask"][:, 0] != 0, strict=True)):
        at = slice(found.offsets[row], found.offsets[row + 1])
        for axis, name in enumerate(("px", "py", "pz", "energy")):
            np.testing.assert_array_equal(found.columns[name][at], four[axis, mask])
        total = four[:, mask].astype(float).sum(1)
        mass = np.sqrt(total[3] ** 2 - np.square(total[:3]).sum())
        sums = {"pt": np.hypot(*total[:2]), "phi": np.arctan2(total[1], total[0]), "energy": total[3], "mass": mass}
        for name, value in sums.items():
            assert block.events[name][row] == pytest.approx(value, rel=1e-5), name
        assert np.sinh(block.events["eta"][row]) * sums["pt"] == pytest.approx(total[2], rel=1e-4, abs=1e-3)
        if further:
            np.testing.assert_allclose(found.columns["d0"][at], np.tanh(arrays["d0"][row, mask]), rtol=1e-6)
            assert block.events["tau"][row] == arrays["tau"][row]
            assert block.events["num"][row] == mask.sum()
    np.testing.assert_array_equal(block.events["truth"], arrays["label"])


@examples(max_examples=25, deadline=None)
@given(
    num_rows=st.integers(1, 40),
    size=st.integers(1, 9),
    kind=st.sampled_from(["npz", "stored npz", "hdf5", "chunked hdf5"]),
    particles_first=st.booleans(),
    onehot=st.booleans(),
    by_energy=st.booleans(),
    block_bytes=st.sampled_from([1, 700, 10**6]),
    dtype=st.sampled_from(["f4", "f8", ">f4"]),
    seed=st.integers(0, 99),
)
def test_rows_are_the_arrays_whatever_the_file_and_its_blocks(tmp_path_factory, num_rows, size, kind, **options):
    arrays = particles(num_rows, size, options["seed"], dtype=options["dtype"])
    written, reader = dict(arrays), dict(ARRAYS, block_bytes=options["block_bytes"])
    if options["particles_first"]:
        written["vectors"] = np.ascontiguousarray(arrays["vectors"].transpose(0, 2, 1))
        reader["layout"] = "particles_first"
    if options["onehot"]:
        definitions = {name: [{"onehot": code}] for code, name in enumerate(("qcd", "top"))}
        reader["truths"] = {"definitions": definitions, "unmatched": "error"}
    if options["by_energy"]:
        del reader["mask"]
    folder = tmp_path_factory.mktemp("arrays")
    if "npz" in kind:
        file = write_npz(folder / "a.npz", written, compressed=kind == "npz")
    else:
        file = write_hdf5(folder / "a.h5", written, chunk=7 if "chunked" in kind else None)
    block, counts = convert(file, reader)
    check_rows(block, arrays)
    assert counts.read == counts.selected == num_rows == sum(counts.truths.values())
    key = block.events["id"][0] >> 24
    np.testing.assert_array_equal(block.events["id"], (key << 24) + np.arange(num_rows))


@pytest.mark.parametrize("block_bytes", [1, 10**6])
def test_tables_of_the_top_tagging_data_set(tmp_path, block_bytes):
    arrays = particles(150, 12, seed=3)
    block, counts = convert(write_table(tmp_path / "a.h5", arrays), TABLE | {"block_bytes": block_bytes})
    check_rows(block, arrays, further=False)
    assert counts.truths == {"qcd": int((arrays["label"] == 0).sum()), "top": int(arrays["label"].sum())}


@pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="pandas writes tables with PyTables")
def test_tables_as_pandas_writes_them(tmp_path):
    import pandas as pd

    arrays = particles(80, 11, seed=4)
    clean = np.where(arrays["mask"] != 0, arrays["vectors"], 0)
    columns = {f"{n}_{i}": clean[:, a, i] for i in range(11) for a, n in ((3, "E"), (0, "PX"), (1, "PY"), (2, "PZ"))}
    frame = pd.DataFrame({**columns, "truthE": arrays["tau"], "ttv": 0, "is_signal_new": arrays["label"]})
    frame.to_hdf(tmp_path / "a.h5", key="table", format="table", complib="blosc", complevel=5)
    block, _ = convert(tmp_path / "a.h5", TABLE)
    check_rows(block, arrays, further=False)


def test_four_arrays_in_any_order_and_groups_of_hdf5(tmp_path):
    arrays = particles(30, 4, seed=5)
    momenta = {f"p4/{name}": arrays["vectors"][:, axis] for axis, name in enumerate(("x", "y", "z", "e"))}
    file = write_hdf5(tmp_path / "a.h5", momenta | {"mask": arrays["mask"], "jets/flavour": arrays["label"]})
    reader = {"vectors": ["p4/e", "p4.z", "p4/y", "p4/x"], "components": ["energy", "pz", "py", "px"], "mask": "mask"}
    truths = {"definitions": {"qcd": [{"jets.flavour": 0}], "top": [{"jets.flavour": 1}]}}
    block, _ = convert(file, {**reader, "truths": truths, "cuts": {"pt": "sum.pt >= 0"}})
    check_rows(block, arrays, further=False)


def test_given_columns_stand_for_sums_and_cuts_and_bad_values_are_counted(tmp_path):
    arrays = particles(50, 6, seed=6)
    arrays["vectors"][3, 1, 0] = np.nan
    arrays["vectors"][7, 3, 0] = np.inf
    arrays["tau"][[3, 7, 9]] = 0.1, 0.1, np.nan
    reader = ARRAYS | {"columns": {"tau": "tau", "mass": "tau * 2", "num": "1 + 0 * tau"}, "tolerance": 0.1}
    block, counts = convert(write_npz(tmp_path / "a.npz", arrays), reader | {"cuts": {"first": "tau < 0.5"}})
    kept = (arrays["tau"] < 0.5) & ~np.isin(np.arange(50), [3, 7, 9])
    np.testing.assert_allclose(block.events["mass"], 2 * arrays["tau"][kept], rtol=1e-6)
    assert counts.read == 50 == counts.selected + sum(counts.rejected.values())
    assert counts.rejected["cut: first"] == int((arrays["tau"] >= 0.5).sum())
    assert sum(number for reason, number in counts.rejected.items() if "not finite" in reason) == 3
    with pytest.raises(DataError, match=r"not finite(.|\n)*entry"):
        convert(write_npz(tmp_path / "b.npz", arrays), reader | {"tolerance": 0.0})


def test_cuts_know_the_sum_and_rows_of_an_event_have_its_number(tmp_path):
    arrays = particles(60, 5, seed=12) | {"event": np.repeat(np.arange(20), 3)}
    reader = ARRAYS | {"cuts": {"pt": "sum.pt > 60"}, "group": "event"}
    block, counts = convert(write_npz(tmp_path / "a.npz", arrays), reader)
    total = np.where(arrays["mask"] != 0, arrays["vectors"], 0).sum(2)
    kept = np.hypot(total[:, 0], total[:, 1]) > 60
    assert 0 < kept.sum() < 60
    assert counts.rejected == {"cut: pt": int((~kept).sum())}
    np.testing.assert_array_equal(block.events["group"], arrays["event"][kept])


def test_nan_energy_without_mask_is_no_padding(tmp_path):
    arrays = particles(20, 4, seed=7)
    arrays["vectors"][2, 3, 1] = np.nan
    reader = {"vectors": "vectors", "tolerance": 0.1}
    _, counts = convert(write_npz(tmp_path / "a.npz", arrays), reader)
    assert counts.selected == 19


def test_energy_below_momentum_is_counted_and_kept(tmp_path):
    arrays = particles(20, 4, seed=8)
    arrays["vectors"][5, 3, 0] *= 0.9
    _, counts = convert(write_npz(tmp_path / "a.npz", arrays))
    (file,) = counts.details["files"]
    assert (counts.selected, file["energy_below_momentum"]) == (20, 1)
    assert file["first_energy_below_momentum"] == "row 5, particle 0"
    assert file["particles"] == int(arrays["mask"].sum())


def test_debug_reads_the_first_chunk(tmp_path):
    block, counts = convert(write_npz(tmp_path / "a.npz", particles(40, 3, 9)), debug=True, chunk_size=13)
    assert len(block) == counts.read == 13


def test_a_file_without_rows_has_none(tmp_path):
    block, counts = convert(write_npz(tmp_path / "a.npz", particles(0, 3, 9)))
    assert (len(block), counts.read) == (0, 0)


def wrong(arrays: Arrays, **changes: np.ndarray | None) -> Arrays:
    return {name: array for name, array in (arrays | changes).items() if array is not None}


BASE = particles(12, 5, seed=10)
WRONG = {
    "missing": (wrong(BASE, vectors=None, vector=BASE["vectors"]), "no array 'vectors'(.|\n)*nearest: vector"),
    "missing label": (wrong(BASE, label=None), "no array 'label'"),
    "layout": (wrong(BASE, vectors=BASE["vectors"].transpose(0, 2, 1).copy()), r"\(12, 5, 4\)(.|\n)*particles_first"),
    "axes": (wrong(BASE, vectors=BASE["vectors"][:, 0]), r"none of four-momenta(.|\n)*\(12, 5\)"),
    "integers": (wrong(BASE, vectors=BASE["vectors"].astype(int)), "none of four-momenta(.|\n)*int64"),
    "mask": (wrong(BASE, mask=BASE["mask"][:, :, :3].copy()), "'mask' is not one of the particles"),
    "length": (wrong(BASE, label=BASE["label"][:7]), r"different lengths(.|\n)*label \(7,\)"),
    "number": (wrong(BASE, tau=np.float64(3)), r"different lengths(.|\n)*tau \(\)"),
    "code": (wrong(BASE, label=BASE["label"] + 1), "rows match no truth"),
    "objects": (wrong(BASE, tau=BASE["tau"].astype(object)), "Python objects"),
    "column order": (wrong(BASE, d0=np.asfortranarray(BASE["d0"])), "ascontiguousarray"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_errors_that_say_what_is_wrong(tmp_path, case):
    arrays, words = WRONG[case]
    with pytest.raises(DataError, match=words):
        convert(write_npz(tmp_path / "a.npz", arrays))


def test_a_label_that_is_not_one_hot_is_an_error_with_its_row(tmp_path):
    arrays = particles(12, 5, seed=10)
    arrays["onehot"][4] = 1
    truths = {"definitions": {"qcd": [{"onehot": 0}], "top": [{"onehot": 1}]}}
    with pytest.raises(DataError, match=r"not one-hot(.|\n)*row 4"):
        convert(write_npz(tmp_path / "a.npz", arrays), ARRAYS | {"truths": truths})
    arrays["onehot"][4] = 0
    _, counts = convert(write_npz(tmp_path / "b.npz", arrays), ARRAYS | {"truths": truths})
    assert counts.rejected == {"no truth": 1}


def damaged(file: Path, how: str) -> Path:
    content = file.read_bytes()
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "text":
        file.write_text("px,py\n")
    else:
        middle = len(content) // 3
        file.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    return file


@pytest.mark.parametrize("kind", ["npz", "stored", "table"])
@pytest.mark.parametrize("how", ["cut", "flip", "text"])
def test_damaged_files_are_errors_that_name_them(tmp_path, kind, how):
    arrays = particles(400, 20, seed=11)
    if kind == "table":
        file, reader = write_table(tmp_path / "a.h5", arrays), TABLE
    else:
        file, reader = write_npz(tmp_path / "a.npz", arrays, compressed=kind == "npz"), ARRAYS
    with pytest.raises(DataError, match=str(file)) as caught:
        convert(damaged(file, how), reader)
    assert isinstance(caught.value, UnreadableArraysError) or how == "text"


def test_a_table_is_named_and_its_names_are_nothing_but_names(tmp_path):
    file = write_table(tmp_path / "a.h5", particles(10, 3, 1))
    with pytest.raises(DataError, match=r"no pandas table 'tabel'(.|\n)*nearest: table"):
        convert(file, TABLE | {"table": "tabel"})

    class Evil:
        def __reduce__(self) -> Any:
            return (subprocess.call, (["touch", str(tmp_path / "done")],))

    with pytest.raises(UnreadableArraysError, match=r"are no .*call"):
        convert(write_table(tmp_path / "b.h5", particles(10, 3, 1), names=Evil()), TABLE)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"components": ["px", "px", "pz", "energy"]}, "px, py, pz and energy in some order"),
        ({"particles": {"px": "x"}}, "take another name"),
        ({"columns": {"truth": "x"}}, "can't name a column"),
        ({"cuts": {"x": "sum.pt >"}}, "cuts.x"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    section = {"format": "arrays", "arrays": {"vectors": "vectors", **values}}
    with pytest.raises(ValueError, match=words):
        ReaderSettings.model_validate_json(json.dumps(section))
    with pytest.raises(ValueError, match="'format: arrays' and the section 'arrays' go together"):
        ReaderSettings.model_validate_json('{"format": "arrays"}')


def test_memory_is_set_by_the_block_and_not_by_the_file(tmp_path):
    def peak(num_rows: int) -> int:
        file = write_npz(tmp_path / f"{num_rows}.npz", particles(num_rows, 30, seed=1))
        tracemalloc.start()
        try:
            convert(file, ARRAYS | {"block_bytes": 200_000})
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)  # what is imported and compiled
    assert peak(8000) < 1.3 * peak(4000)
    assert zipfile.is_zipfile(tmp_path / "8000.npz")
