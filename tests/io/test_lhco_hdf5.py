"""The LHC Olympics HDF5 format, against pandas and the published file."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from honeyguide.errors import DataError
from honeyguide.io.lhco_hdf5 import MAX_PARTICLES, read_lhco, write_lhco


def _events(num_events: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    particles = rng.normal(size=(num_events, MAX_PARTICLES, 3)).astype(np.float32)
    particles[..., 0] = np.abs(particles[..., 0]) + 0.1
    particles[np.arange(MAX_PARTICLES) >= rng.integers(0, MAX_PARTICLES, num_events)[:, None]] = 0
    return particles, rng.integers(0, 2, num_events).astype(np.int8)


def test_pandas_reads_what_is_written(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is a development dependency")
    pytest.importorskip("tables", reason="tables is a development dependency")
    particles, label = _events(70)
    write_lhco(tmp_path / "events.h5", particles, label, block=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        frame = pandas.read_hdf(tmp_path / "events.h5")
        part = pandas.read_hdf(tmp_path / "events.h5", key="df", start=60, stop=65)
    assert frame.shape == (70, 2101)
    assert (frame.dtypes == np.float64).all()
    np.testing.assert_array_equal(frame.to_numpy()[:, :2100].reshape(-1, 700, 3), particles)
    np.testing.assert_array_equal(frame[2100], label)
    np.testing.assert_array_equal(part, frame.iloc[60:65])


def test_layout_is_that_of_the_published_file(tmp_path: Path, shared_data: Path) -> None:
    write_lhco(tmp_path / "events.h5", *_events(5))
    with (
        h5py.File(tmp_path / "events.h5") as ours,
        h5py.File(shared_data / "lhco" / "events_anomalydetection_tiny.h5") as theirs,
    ):
        assert set(ours["df"]) == set(theirs["df"])
        assert dict(ours["df"].attrs) == dict(theirs["df"].attrs)
        for name in theirs["df"]:
            assert ours["df"][name].dtype == theirs["df"][name].dtype
            assert dict(ours["df"][name].attrs) == dict(theirs["df"][name].attrs)


def test_published_file_is_read(shared_data: Path) -> None:
    events = read_lhco(shared_data / "lhco" / "events_anomalydetection_tiny.h5")
    assert len(events) == 1000
    assert events.label is not None
    assert np.bincount(events.label).tolist() == [907, 93]
    assert np.abs(events.phi).max() <= np.pi + 1e-5
    part = read_lhco(shared_data / "lhco" / "events_anomalydetection_tiny.h5", 990, 1000)
    np.testing.assert_array_equal(part.pt, events.pt[990:])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_events=st.integers(1, 9), block=st.integers(1, 4), start=st.integers(0, 9), seed=st.integers(0, 99))
def test_round_trip(tmp_path: Path, num_events: int, block: int, start: int, seed: int) -> None:
    particles, label = _events(num_events, seed)
    write_lhco(tmp_path / "events.h5", particles, label, block=block)
    read = read_lhco(tmp_path / "events.h5", start)
    assert read.label is not None
    np.testing.assert_array_equal(np.stack([read.pt, read.eta, read.phi], axis=-1), particles[start:])
    np.testing.assert_array_equal(read.label, label[start:])


def test_files_without_labels_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "box.h5", "w") as file:
        file["df/block0_values"] = np.ones((3, 2100))
    assert read_lhco(tmp_path / "box.h5").label is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["other"] = 1
    with h5py.File(tmp_path / "narrow.h5", "w") as file:
        file["df/block0_values"] = np.ones((3, 14))
    for name in ("text.h5", "empty.h5", "missing.h5"):
        with pytest.raises(DataError, match="no readable LHC Olympics file"):
            read_lhco(tmp_path / name)
    with pytest.raises(DataError, match="wrong number of columns"):
        read_lhco(tmp_path / "narrow.h5")
    with pytest.raises(DataError, match="wrong shapes"):
        write_lhco(tmp_path / "x.h5", np.zeros((2, 5, 3)), np.zeros(2, dtype=np.int8))
