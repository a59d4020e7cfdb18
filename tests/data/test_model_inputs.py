"""Model inputs come back as written, through a map, and damage is named."""

import itertools
import subprocess
import sys

import h5py
import numpy as np
import pytest

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputs, ModelInputsWriter, list_inputs, read_spec, write_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import DataError, StoreError
from tests.planted import make_row_spec, make_rows


def make_spec(event_features: int = 2) -> InputSpec:
    return InputSpec(
        level="constituent",
        shape=(2, 3),
        columns=tuple(Column(name=n, feature=n, kind="continuous") for n in ("pt", "eta", "phi")),
        event_columns=tuple(Column(name=f"e{i}", feature="met", kind="continuous") for i in range(event_features)),
        processes=("qcd",),
        generators=("a", "b"),
    )


def make_columns(spec: InputSpec, num_events: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "objects": rng.normal(size=(num_events, spec.num_objects, spec.num_features)).astype(np.float32),
        "mask": rng.random((num_events, spec.num_objects)) < 0.5,
        "event": rng.normal(size=(num_events, spec.num_event_features)).astype(np.float32),
        "event_id": rng.integers(0, 2**62, num_events),
        "weight": rng.normal(size=num_events),
        "label": rng.integers(0, 2, num_events).astype(np.int8),
        "process": rng.integers(0, 1, num_events).astype(np.int16),
        "generator": rng.integers(0, 2, num_events).astype(np.int16),
        "signal_point": np.full(num_events, -1, dtype=np.int16),
    }


def write(path, spec, columns, blocks=(0, 7, 7, 50)):
    edges = [*blocks, len(columns["event_id"])]
    with ModelInputsWriter(path, num_events=edges[-1], spec=spec) as writer:
        for start, stop in itertools.pairwise(edges):
            writer.append({name: values[start:stop] for name, values in columns.items()})


@pytest.mark.parametrize("event_features", [0, 2])
def test_round_trip_in_blocks(tmp_path, event_features):
    spec = make_spec(event_features)
    columns = make_columns(spec, 101)
    write(tmp_path / "a" / "train.h5", spec, columns)
    inputs = ModelInputs.open(tmp_path / "a" / "train.h5")
    assert len(inputs) == 101
    for name, values in columns.items():
        read = getattr(inputs, name)
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)


def test_arrays_are_maps_that_can_not_change_the_file(tmp_path):
    spec, path = make_spec(), tmp_path / "train.h5"
    columns = make_columns(spec, 60)
    write(path, spec, columns)
    before = path.read_bytes()
    inputs = ModelInputs.open(path)
    base = inputs.objects
    while not isinstance(base, np.memmap):
        base = base.base
    assert inputs.objects.flags.aligned
    inputs.objects[:] = 0
    del inputs, base
    assert path.read_bytes() == before


def test_spec_and_listing(tmp_path):
    spec = make_spec()
    write_spec(tmp_path, spec)
    for name in ("qcd_b", "qcd_a"):
        write(tmp_path / name / "test.h5", spec, make_columns(spec, 51))
    assert read_spec(tmp_path) == spec
    assert list(list_inputs(tmp_path, "test")) == ["qcd_a", "qcd_b"]
    assert list_inputs(tmp_path, "train") == {}
    with pytest.raises(DataError, match="nearest: validation"):
        list_inputs(tmp_path, "valid")
    with pytest.raises(StoreError, match="missing"):
        list_inputs(tmp_path / "none", "test")
    with pytest.raises(StoreError, match=r"spec\.json"):
        read_spec(tmp_path / "qcd_a")


def test_writer_wants_exactly_the_announced_events(tmp_path):
    spec = make_spec()
    columns = make_columns(spec, 10)
    with (
        pytest.raises(ValueError, match="10 of 11"),
        ModelInputsWriter(tmp_path / "a.h5", num_events=11, spec=spec) as w,
    ):
        w.append(columns)
    with (
        pytest.raises(ValueError, match="made for 9"),
        ModelInputsWriter(tmp_path / "b.h5", num_events=9, spec=spec) as w,
    ):
        w.append(columns)


@pytest.mark.parametrize("keep", [0, 100, 4000, -1])
def test_truncated_file_is_an_error(tmp_path, keep):
    path = tmp_path / "train.h5"
    write(path, make_spec(), make_columns(make_spec(), 101))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"damaged[\s\S]*train\.h5"):
        ModelInputs.open(path)


def _drop(file):
    del file["mask"]


def _shorten(file):
    del file["weight"]
    file["weight"] = np.zeros(5)


def _compress(file):
    objects = file["objects"][:]
    del file["objects"]
    file.create_dataset("objects", data=objects, compression="lzf")


def _retype(file):
    objects = file["objects"][:]
    del file["objects"]
    file.create_dataset("objects", data=objects.astype(np.float64))


def _reversion(file):
    file.attrs["schema_version"] = 99


@pytest.mark.parametrize("damage", [_drop, _shorten, _compress, _retype, _reversion])
def test_foreign_or_damaged_content_is_an_error(tmp_path, damage):
    path = tmp_path / "train.h5"
    write(path, make_spec(), make_columns(make_spec(), 101))
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(StoreError, match=r"train\.h5"):
        ModelInputs.open(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(StoreError, match="missing"):
        ModelInputs.open(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("not HDF5" * 100)
    with pytest.raises(StoreError, match="damaged"):
        ModelInputs.open(tmp_path / "text.h5")


_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter
from honeyguide.errors import StoreError
folder, num_events = Path(sys.argv[1]), 5000
column = Column(name="pt", feature="pt", kind="continuous")
spec = InputSpec(level="jet", shape=(9,), columns=(column,), processes=("a",), generators=("b",))
rows = {"objects": np.ones((num_events, 9, 1)), "mask": np.ones((num_events, 9)), "event": np.ones((num_events, 0))}
names = ("event_id", "weight", "label", "process", "generator", "signal_point")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    with ModelInputsWriter(folder / "train.h5", num_events=num_events, spec=spec) as writer:
        writer.append(rows | {name: np.zeros(num_events) for name in names})
except StoreError as error:
    print("StoreError", error)
"""


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_full_store_is_an_error_that_names_the_file(tmp_path, limit):
    command = [sys.executable, "-c", _FULL, str(tmp_path), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "StoreError model inputs can't be written" in result.stdout, result.stderr
    assert "train.h5" in result.stdout


def test_rows_come_back_with_truth_and_sets_in_their_order(tmp_path):
    spec, rows = make_row_spec(), make_rows(120, first_id=7)
    write(tmp_path / "train.h5", spec, rows)
    inputs = ModelInputs.open(tmp_path / "train.h5")
    assert list(inputs.sets) == ["cpf", "npf", "sv"]
    assert inputs.objects.shape == (120, 0, 0)
    read = inputs.arrays()
    assert set(read) == set(rows)
    for name, values in rows.items():
        assert read[name].shape == values.shape
        np.testing.assert_array_equal(read[name], values)
    assert inputs.sets["sv"].features.dtype == np.float32
    assert inputs.sets["sv"].mask.dtype == bool


def test_four_momenta_targets_and_observers_come_back_where_the_specification_has_them(tmp_path):
    spec, rows = make_row_spec(), make_rows(120, first_id=7)
    sets = [item.model_copy(update={"vectors": item.name == "npf"}) for item in spec.sets]
    targets = tuple(Column(name=name, feature=name, kind="continuous") for name in ("mass", "energy"))
    rng = np.random.default_rng(1)
    rows |= {"npf/vectors": rng.normal(size=(120, 4, 4)).astype(np.float32)}
    rows |= {"targets": rng.normal(size=(120, 2)).astype(np.float32)}
    rows |= {"observers": rng.normal(size=(120, 1)).astype(np.float32)}
    further = {"sets": tuple(sets), "targets": targets, "observers": ("mass",)}
    write(tmp_path / "train.h5", spec.model_copy(update=further), rows)
    inputs = ModelInputs.open(tmp_path / "train.h5")
    assert inputs.sets["cpf"].vectors is None
    np.testing.assert_array_equal(inputs.sets["npf"].vectors, rows["npf/vectors"])
    np.testing.assert_array_equal(inputs.targets, rows["targets"])
    np.testing.assert_array_equal(inputs.observers, rows["observers"])
    (batch,) = BatchStream([inputs], batch_size=200).batches()
    assert set(batch.tensors()) == set(rows) - {"pt", "eta", "group", "process", "signal_point", "observers"}
    np.testing.assert_array_equal(batch.sets["npf"].vectors, rows["npf/vectors"])
    np.testing.assert_array_equal(batch.rows(5, 9).targets, rows["targets"][5:9])


def test_events_have_no_truth_and_no_sets(tmp_path):
    write(tmp_path / "train.h5", make_spec(), make_columns(make_spec(), 60))
    inputs = ModelInputs.open(tmp_path / "train.h5")
    assert inputs.truth is inputs.pt is inputs.eta is None
    assert not inputs.sets


@pytest.mark.parametrize("name", ["truth", "pt", "npf/mask", "sv/features"])
def test_rows_without_one_of_their_datasets_are_an_error(tmp_path, name):
    path = tmp_path / "train.h5"
    write(path, make_row_spec(), make_rows(60, first_id=7))
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(StoreError, match=f"no '{name}'"):
        ModelInputs.open(path)
