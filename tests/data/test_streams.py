"""Every event once per epoch, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data import streams
from honeyguide.data.event_weights import make_event_weights
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.streams import BatchStream
from honeyguide.errors import DataError
from tests.planted import make_rows, make_spec, write_sample


def make_source(first_id: int, num_events: int, generator: int = 0, weight: float = 1.0) -> ModelInputs:
    ids = np.arange(first_id, first_id + num_events, dtype=np.int64)
    return ModelInputs(
        objects=np.repeat(ids, 6).reshape(-1, 3, 2).astype(np.float32),
        mask=np.ones((num_events, 3), dtype=bool),
        event=ids[:, None].astype(np.float32),
        event_id=ids,
        weight=np.full(num_events, weight),
        label=np.zeros(num_events, dtype=np.int8),
        process=np.zeros(num_events, dtype=np.int16),
        generator=np.full(num_events, generator, dtype=np.int16),
        signal_point=np.full(num_events, -1, dtype=np.int16),
    )


def ids_of(stream: BatchStream, epoch: int = 0, first: int = 0) -> list[list[int]]:
    return [batch.event_id.tolist() for batch in stream.batches(epoch, first=first)]


@pytest.fixture
def small_pools(monkeypatch):
    monkeypatch.setattr(streams, "POOL_BYTES", 4000)
    monkeypatch.setattr(streams, "CHUNK_ROWS", 16)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 700), min_size=1, max_size=4),
    batch_size=st.integers(1, 300),
    seed=st.one_of(st.none(), st.integers(0, 5)),
    pool_bytes=st.sampled_from([1, 4000, 30000]),
)
def test_every_event_comes_once_and_the_order_does_not_depend_on_memory(lengths, batch_size, seed, pool_bytes):
    sources = [make_source(1000 * i, n) for i, n in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "POOL_BYTES", pool_bytes)
        streamed = BatchStream(sources, batch_size=batch_size, shuffle_seed=seed)
        resident = BatchStream(sources, batch_size=batch_size, shuffle_seed=seed, resident_bytes=10**9)
        assert not streamed.is_resident
        assert resident.is_resident == (sum(lengths) > 0)
        batches = ids_of(streamed, epoch=3)
        assert batches == ids_of(resident, epoch=3)
    everything = [i for source in sources for i in source.event_id.tolist()]
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == everything
    assert len(batches) == len(streamed)
    sizes = [len(batch) for batch in batches]
    assert not sizes or (max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1)
    if seed is None:
        assert flat == everything


def test_rows_of_all_arrays_stay_together(small_pools):
    stream = BatchStream([make_source(0, 500), make_source(1000, 77)], batch_size=32, shuffle_seed=1)
    for batch in stream.batches(2):
        assert torch.equal(batch.event[:, 0], batch.event_id.float())
        assert torch.equal(batch.objects, batch.event_id.float()[:, None, None].expand(-1, 3, 2))


def test_order_changes_with_seed_and_epoch_and_with_nothing_else(small_pools):
    def order(seed, epoch):
        stream = BatchStream([make_source(0, 1000)], batch_size=100, shuffle_seed=seed)
        return ids_of(stream, epoch)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert sorted(order(1, 0)[0]) != list(range(100))


def test_events_of_one_chunk_come_in_another_order_each_epoch():
    stream = BatchStream([make_source(0, streams.CHUNK_ROWS)], batch_size=32, shuffle_seed=1)
    first, second = (np.concatenate(ids_of(stream, epoch)) for epoch in (0, 1))
    assert (first == second).mean() < 0.1


def test_an_epoch_can_be_entered_at_any_batch(small_pools):
    stream = BatchStream([make_source(0, 1000)], batch_size=30, shuffle_seed=4)
    whole = ids_of(stream, epoch=1)
    for first in (0, 1, 7, len(whole) - 1, len(whole)):
        assert ids_of(stream, epoch=1, first=first) == whole[first:]


def test_sources_are_mixed_in_proportion_in_every_batch():
    sources = [make_source(0, 9000, generator=0), make_source(100_000, 3000, generator=1)]
    for batch in BatchStream(sources, batch_size=500, shuffle_seed=3).batches():
        share = (batch.generator == 1).double().mean().item()
        assert abs(share - 0.25) < 6 * np.sqrt(0.25 * 0.75 / 500)


def test_batches_kept_by_the_consumer_do_not_change(small_pools):
    stream = BatchStream([make_source(0, 800)], batch_size=50)
    kept = list(stream.batches())
    assert torch.cat([batch.event_id for batch in kept]).tolist() == list(range(800))


def resident_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of the process from /proc")
@pytest.mark.parametrize("seed", [None, 1])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, seed):
    """Mapped pages count as memory of the process; those that have been read are given back."""
    monkeypatch.setattr(streams, "POOL_BYTES", 2**20)
    monkeypatch.setattr(streams, "RELEASE_BYTES", 2**20)
    spec = make_spec("jet", shape=(50,), num_features=8)
    path = write_sample(tmp_path, "qcd", "train", num_events=30_000, first_id=1, spec=spec)
    assert path.stat().st_size > 40e6
    stream = BatchStream([ModelInputs.open(path)], batch_size=256, shuffle_seed=seed)
    start = resident_mb()
    assert max(resident_mb() - start for _ in stream.batches()) < 15


def test_an_error_while_reading_reaches_the_consumer(small_pools, monkeypatch):
    stream = BatchStream([make_source(0, 800)], batch_size=50)
    calls = []
    read = stream._read

    def failing(pieces, kept):
        calls.append(1)
        if len(calls) == 3:
            raise OSError("disk gone")
        return read(pieces)

    monkeypatch.setattr(stream, "_read", failing)
    with pytest.raises(OSError, match="disk gone"):
        list(stream.batches())


@pytest.mark.parametrize(
    ("kind", "expected"), [("none", [1, 1]), ("physics", [0.2, 1.8]), ("balance_generators", [2 / 3, 2])]
)
def test_event_weights_have_mean_one_and_the_ratios_that_they_name(kind, expected):
    if kind == "physics":
        sources = [make_source(0, 100, 0, weight=1e-8), make_source(1000, 100, 2, weight=9e-8)]
    else:
        sources = [make_source(0, 300, 0, weight=1e-8), make_source(1000, 100, 2, weight=3e6)]
    stream = BatchStream(sources, batch_size=64, event_weights=make_event_weights(kind, sources))
    batches = list(stream.batches())
    weight = torch.cat([b.weight for b in batches]).double()
    generator = torch.cat([b.generator for b in batches])
    assert weight.mean().item() == pytest.approx(1)
    assert weight[generator == 0].mean().item() == pytest.approx(expected[0])
    assert weight[generator == 2].mean().item() == pytest.approx(expected[1])


@pytest.mark.parametrize("weight", [np.nan, 0.0, -1.0])
def test_weights_that_can_not_be_used_are_an_error(weight):
    with pytest.raises(DataError, match="event weights"):
        make_event_weights("physics", [make_source(0, 10, weight=weight)])


def row_source(first_id: int, num_rows: int) -> ModelInputs:
    return ModelInputs.from_arrays(make_rows(num_rows, first_id=first_id))


@pytest.mark.parametrize("resident", [0, 10**9])
def test_sets_and_truth_of_a_row_stay_together(small_pools, resident):
    sources = [row_source(0, 300), row_source(1000, 77)]
    stream = BatchStream(sources, batch_size=32, shuffle_seed=1, resident_bytes=resident)
    place = {int(i): (source, n) for source in sources for n, i in enumerate(source.event_id)}
    seen = 0
    for batch in stream.batches(2):
        assert list(batch.sets) == ["cpf", "npf", "sv"]
        for row, event_id in enumerate(batch.event_id.tolist()):
            source, n = place[event_id]
            assert batch.truth[row] == source.truth[n]
            for name, item in source.sets.items():
                assert np.array_equal(batch.sets[name].features[row], item.features[n])
                assert np.array_equal(batch.sets[name].mask[row], item.mask[n])
            seen += 1
    assert seen == 377


def test_bytes_of_a_stream_count_the_sets():
    source = row_source(0, 50)
    stream = BatchStream([source], batch_size=10, resident_bytes=10**9)
    tensors = [batch.tensors() for batch in stream.batches()]
    assert stream.num_bytes == sum(t.nbytes for part in tensors for t in part.values())
