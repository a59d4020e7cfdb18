"""The event store gives back what was put in, in blocks of any size, and says so when it is damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import StoreError
from honeyguide.io.event_store import CHUNK_ROWS, EventStore, EventStoreWriter

BACKGROUND = SampleInfo(name="qcd_a", process="qcd", generator="a", label="background")
SIGNAL = SampleInfo(
    name="svj", process="svj", generator="b", label="signal", signal_point={"r_inv": 0.3, "mass": 3500.0}
)


def make_block(jet_counts: list[list[int]], first: int = 0) -> EventBlock:
    """Returns events with jets of the given numbers of constituents, every value different."""
    sizes = [size for event in jet_counts for size in event]
    num = len(jet_counts)
    ids = np.arange(first, first + num, dtype=np.int64) + 2**60
    base = np.float32(first)
    return EventBlock(
        events={"id": ids, "weight": ids / 7.0, "met": (np.arange(num) + base).astype(np.float32)},
        collections={
            "jets": Collection(
                parent="events",
                offsets=np.cumsum([0, *(len(event) for event in jet_counts)]),
                columns={"pt": (np.arange(len(sizes)) + base).astype(np.float32)},
            ),
            "constituents": Collection(
                parent="jets",
                offsets=np.cumsum([0, *sizes]),
                columns={
                    "pt": (np.arange(sum(sizes)) + base).astype(np.float32),
                    "pdg_id": np.arange(sum(sizes), dtype=np.int32),
                },
            ),
        },
    )


def write(path: Path, blocks: list[EventBlock], sample: SampleInfo = BACKGROUND, **counts) -> Path:
    with EventStoreWriter(path, sample=sample) as writer:
        for block in blocks:
            writer.append(block)
        writer.finalise(**counts)
    return path


def nested(block: EventBlock) -> list[tuple]:
    """Returns the events as nested tuples, without offsets."""
    jets, constituents = block.collections["jets"], block.collections["constituents"]
    assert jets.offsets[0] == constituents.offsets[0] == 0
    found = []
    for i in range(len(block)):
        inside = []
        for j in range(jets.offsets[i], jets.offsets[i + 1]):
            span = slice(constituents.offsets[j], constituents.offsets[j + 1])
            inside.append((jets.columns["pt"][j], *(constituents.columns[c][span].tolist() for c in ("pt", "pdg_id"))))
        found.append((*(block.events[name][i] for name in ("id", "weight", "met")), inside))
    return found


events = st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=9)


@given(st.lists(events, min_size=1, max_size=4), st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_round_trip_in_blocks_of_any_size(tmp_path_factory, counts, size):
    blocks = [make_block(events, first=100 * i) for i, events in enumerate(counts)]
    path = write(tmp_path_factory.getbasetemp() / "round_trip.h5", blocks)
    with EventStore(path) as store:
        read = list(store.iter_blocks(size))
        assert store.num_events == sum(len(block) for block in blocks)
        assert [event for block in read for event in nested(block)] == [e for block in blocks for e in nested(block)]
        assert all(len(block) == size for block in read[:-1])


def test_blocks_cross_chunk_borders(tmp_path):
    counts = [[i % 3] * (i % 4) for i in range(CHUNK_ROWS + 1000)]
    blocks = [make_block(counts[start : start + 5000], first=start) for start in range(0, len(counts), 5000)]
    expected = [event for block in blocks for event in nested(block)]
    with EventStore(write(tmp_path / "large.h5", blocks)) as store:
        assert [event for block in store.iter_blocks(7001) for event in nested(block)] == expected


def test_dtypes_chunks_and_compression_of_the_file(tmp_path):
    path = write(tmp_path / "a.h5", [make_block([[1, 2]])], SIGNAL)
    with h5py.File(path) as file:
        expected = {"id": "int64", "weight": "float64", "met": "float32", "label": "int8", "process": "int16"}
        assert {name: str(file[f"events/{name}"].dtype) for name in expected} == expected
        assert file["jets/offsets"].dtype == np.int64
        assert file["constituents"].attrs["parent"] == "jets"
        for column in ("events/id", "constituents/pt"):
            assert file[column].chunks == (CHUNK_ROWS,)
            assert file[column].id.get_create_plist().get_nfilters() > 0, "compressed"


@pytest.mark.parametrize(("sample", "label", "point"), [(BACKGROUND, 0, -1), (SIGNAL, 1, 0)])
def test_truth_columns_and_attributes(tmp_path, sample, label, point):
    source = {"name": "a.csv", "size": 5, "xxh3_128": "00"}
    path = write(
        tmp_path / "a.h5", [make_block([[1], []])], sample, read=4, rejected={"bad_count": 2}, sources=[source]
    )
    with EventStore(path) as store:
        (block,) = store.iter_blocks()
        assert block.events["label"].tolist() == [label] * 2
        assert block.events["signal_point"].tolist() == [point] * 2
        assert block.events["process"].tolist() == block.events["generator"].tolist() == [0, 0]
        assert store.sample == sample
        assert store.attrs["processes"] == [sample.process]
        assert store.attrs["signal_points"] == (["mass=3500,r_inv=0.3"] if label else [])
        assert (store.attrs["read"], store.attrs["selected"], store.attrs["rejected"]) == (4, 2, {"bad_count": 2})
        assert store.attrs["sources"] == [source]


def test_what_is_one_value_in_all_events_takes_no_space(tmp_path):
    path = write(tmp_path / "a.h5", [make_block([[1]] * 20), make_block([[2]] * 30, first=20)])
    with h5py.File(path) as file:
        for name in ("process", "generator", "signal_point", "label"):
            assert file["events"][name].shape == (50,)
            assert file["events"][name].id.get_storage_size() == 0
            assert len(set(file["events"][name][:])) == 1


def test_attributes_of_very_many_sources(tmp_path):
    sources = [{"name": f"a_{i}.csv", "size": i, "xxh3_128": "0" * 32} for i in range(3000)]
    with EventStore(write(tmp_path / "a.h5", [make_block([[]])], sources=sources)) as store:
        assert store.attrs["sources"] == sources


def test_only_the_wanted_columns_are_read(tmp_path):
    path = write(tmp_path / "a.h5", [make_block([[1, 2], [3]])])
    with EventStore(path) as store:
        (block,) = store.iter_blocks(columns={"constituents": ["pt"]})
        assert set(block.events) == {"id", "weight"}
        assert block.collections["jets"].columns == {}
        assert block.collections["jets"].counts.tolist() == [2, 1]
        assert set(block.collections["constituents"].columns) == {"pt"}
        (block,) = store.iter_blocks(columns={"events": ["met"]})
        assert set(block.events) == {"id", "weight", "met"}
        assert not block.collections
        with pytest.raises(StoreError, match="nearest: pdg_id"):
            next(store.iter_blocks(columns={"constituents": ["pdgid"]}))
        with pytest.raises(StoreError, match="nearest: jets"):
            next(store.iter_blocks(columns={"jet": ["pt"]}))


def test_contradictory_blocks_are_refused(tmp_path):
    block = make_block([[1], [2]])
    other_columns = EventBlock(events={**block.events, "extra": block.events["id"]}, collections=block.collections)
    short = EventBlock(events={**block.events, "met": block.events["met"][:1]}, collections=block.collections)
    without = EventBlock(events=block.events)
    jets = block.collections["jets"]
    cut = EventBlock(block.events, {"jets": Collection("events", jets.offsets[:-1], jets.columns)})
    for bad in (other_columns, short, without, cut):
        with EventStoreWriter(tmp_path / "a.h5", sample=BACKGROUND) as writer:
            writer.append(block)
            with pytest.raises(StoreError, match="events can't be appended"):
                writer.append(bad)


def test_unfinished_missing_and_foreign_files(tmp_path):
    with EventStoreWriter(tmp_path / "unfinished.h5", sample=BACKGROUND) as writer:
        writer.append(make_block([[1]]))
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = [1]
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, message in [
        ("unfinished.h5", "no finished event store"),
        ("foreign.h5", "no finished event store"),
        ("text.h5", "can't be read"),
        ("missing.h5", "no event store here"),
    ]:
        with pytest.raises(StoreError, match=message) as caught:
            EventStore(tmp_path / name)
        assert name in str(caught.value)


def test_another_schema_version_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", [make_block([[1]])])
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(StoreError, match="another schema version"):
        EventStore(path)


def test_damage_is_an_error_and_never_wrong_events(tmp_path):
    rng = np.random.default_rng(1)
    path = write(tmp_path / "a.h5", [make_block([[3, 4]] * 4000)])
    content = path.read_bytes()
    with EventStore(path) as store:
        expected = [event for block in store.iter_blocks() for event in nested(block)]
    for size in rng.integers(0, len(content), 12):
        path.write_bytes(content[:size])
        with pytest.raises(StoreError), EventStore(path) as store:
            list(store.iter_blocks())
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["jets/pt"].resize((10,))
    with pytest.raises(StoreError, match="damaged"):
        EventStore(path)
    path.write_bytes(content)
    with EventStore(path) as store:
        assert [event for block in store.iter_blocks() for event in nested(block)] == expected
