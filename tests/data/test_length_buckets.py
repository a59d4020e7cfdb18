"""Length buckets: the rows and the sizes of plain batches, little padding, nothing that a row has lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data import streams
from honeyguide.data.batch import Batch
from honeyguide.data.event_weights import EventWeights
from honeyguide.data.length_buckets import STEP, BucketStream, needed_slots, parts_by_length, trimmed
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.streams import BatchStream
from tests.data.test_streams import make_source

SLOTS = 40
GAP = 3  # a slot of each row that is empty between others


def make_jets(first_id: int, num_rows: int) -> ModelInputs:
    """Rows with from 0 to 40 objects, of which one in the midst is missing; features tell row and slot."""
    rng = np.random.default_rng(first_id)
    ids = np.arange(first_id, first_id + num_rows)
    mask = np.arange(SLOTS) < rng.integers(0, SLOTS + 1, num_rows)[:, None]
    mask[:, GAP] = False
    own = make_source(first_id, num_rows).arrays()
    values = np.stack(np.broadcast_arrays(ids[:, None], np.arange(SLOTS)), axis=-1)
    few = np.arange(5) < rng.integers(0, 2, num_rows)[:, None]
    sets = {
        "jets/features": values.astype(np.float32) * mask[..., None],
        "jets/mask": mask,
        "jets/vectors": np.repeat(values, 2, axis=-1).astype(np.float32) * mask[..., None],
        "sv/features": np.ones((num_rows, 5, 1), np.float32) * few[..., None],
        "sv/mask": few,
    }
    return ModelInputs.from_arrays({**own, **sets})


def make_stream(sources: list[ModelInputs], **values) -> BucketStream:
    return BucketStream(sources, **{"batch_size": 16, "shuffle_seed": 1, **values})


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch):
    monkeypatch.setattr(streams, "POOL_BYTES", 200_000)  # some 200 rows
    monkeypatch.setattr(streams, "CHUNK_ROWS", 16)


def ids_of(stream: BatchStream, epoch: int = 0, first: int = 0) -> list[list[int]]:
    return [batch.event_id.tolist() for batch in stream.batches(epoch, first=first)]


def flat(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def assert_whole(batch: Batch, source: ModelInputs, first_id: int) -> None:
    """Every object of the rows is there, in its slot; behind the slots that are cut off there is none."""
    rows = batch.event_id.numpy() - first_id
    for name, item in batch.sets.items():
        for part, tensor in item.tensors().items():
            expected = source.arrays()[f"{name}/{part}"][rows]
            assert np.array_equal(tensor.numpy(), expected[:, : tensor.shape[1]])
            assert not expected[:, tensor.shape[1] :].any()


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    batch_size=st.integers(1, 80),
    resident=st.sampled_from([0, 10**9]),
    epoch=st.integers(0, 2),
)
def test_batches_have_the_sizes_and_all_rows_of_plain_ones(lengths, batch_size, resident, epoch):
    sources = [make_jets(1000 * i, n) for i, n in enumerate(lengths)]
    plain = BatchStream(sources, batch_size=batch_size, shuffle_seed=1)
    found = ids_of(make_stream(sources, batch_size=batch_size, resident_bytes=resident), epoch)
    assert [len(batch) for batch in found] == [len(batch) for batch in plain.batches(epoch)]
    assert sorted(flat(found)) == [i for source in sources for i in source.event_id.tolist()]


@pytest.mark.parametrize("resident", [0, 10**9])
def test_rows_keep_their_objects(resident):
    source = make_jets(1000, 500)
    for batch in make_stream([source], resident_bytes=resident).batches(1):
        assert_whole(batch, source, 1000)
        rows = batch.event_id.numpy() - 1000
        used = np.flatnonzero(source.sets["jets"].mask[rows].any(0)).max(initial=0) + 1
        assert batch.sets["jets"].mask.shape[1] == min(SLOTS, -(-used // STEP) * STEP)


def test_there_is_little_padding():
    sources = [make_jets(1000, 800)]

    def padding(stream):
        masks = [batch.sets["jets"].mask for batch in stream.batches()]
        return 1 - sum(mask.sum() for mask in masks) / sum(mask.numel() for mask in masks)

    assert padding(BatchStream(sources, batch_size=16, shuffle_seed=1)) > 0.5
    # 3 of 24 slots are cut off in groups of 8 on average, one is empty in each row
    assert padding(make_stream(sources)) < 0.3


def test_order_and_company_are_drawn_anew_in_every_epoch():
    sources = [make_jets(1000, 600)]
    first, second = (ids_of(make_stream(sources), epoch) for epoch in (0, 1))
    assert ids_of(make_stream(sources), 0) == first
    assert ids_of(make_stream(sources, shuffle_seed=2), 0) != first
    together = [{frozenset(pair) for batch in run for pair in pairwise(batch)} for run in (first, second)]
    assert len(together[0] & together[1]) < 0.1 * len(together[0])
    slots = [batch.sets["jets"].mask.shape[1] for batch in make_stream(sources).batches()]
    assert sorted(slots) != slots != sorted(slots, reverse=True)


@pytest.mark.parametrize("resident", [0, 10**9])
def test_an_epoch_can_be_entered_at_any_batch(resident):
    stream = make_stream([make_jets(1000, 500)], resident_bytes=resident)
    whole = ids_of(stream, epoch=1)
    for first in (1, 13, len(whole) - 1, len(whole)):
        assert ids_of(stream, epoch=1, first=first) == whole[first:]


def test_parts_make_up_the_same_batches_and_need_about_the_same_slots():
    sources = [make_jets(1000, 500)]
    whole = ids_of(make_stream(sources, batch_size=64))
    parts = [make_stream(sources, batch_size=64, part=(number, 3)) for number in range(3)]
    assert [flat(batches) for batches in zip(*map(ids_of, parts), strict=True)] == whole
    means = [np.mean([needed_slots(batch.tensors()).double().mean() for batch in part.batches()]) for part in parts]
    assert max(means) - min(means) < 1


def test_sampled_rows_are_those_of_a_plain_stream():
    class EveryThird:
        def kept(self, source, epoch):
            return (source.event_id + epoch) % 3 == 0

    source = make_jets(1000, 500)
    weights = EventWeights(sampling=EveryThird())
    for resident in (0, 10**9):
        stream = make_stream([source], event_weights=weights, resident_bytes=resident)
        plain = BatchStream([source], batch_size=16, shuffle_seed=1, event_weights=weights)
        for epoch in (0, 1):
            assert sorted(flat(ids_of(stream, epoch))) == sorted(flat(ids_of(plain, epoch)))


def test_parts_by_length_are_all_rows_with_all_their_objects():
    source = make_jets(1000, 100)
    (batch,) = BatchStream([source], batch_size=100).batches()
    parts = list(parts_by_length(batch, 30))
    assert [len(rows) for rows, _ in parts] == [30, 30, 30, 10]
    assert torch.cat([rows for rows, _ in parts]).sort().values.tolist() == list(range(100))
    for rows, part in parts:
        assert torch.equal(part.event_id, batch.event_id[rows])
        assert_whole(part, source, 1000)
    slots = [part.sets["jets"].mask.shape[1] for _, part in parts]
    assert slots[0] < slots[-1]
    assert slots == sorted(slots)


def test_rows_without_objects_keep_some_slots():
    source = make_jets(1000, 4)
    (batch,) = BatchStream([source], batch_size=4).batches()
    tensors = batch.map(torch.zeros_like).tensors()
    cut = Batch.from_tensors(trimmed(tensors, needed_slots(tensors).numpy()))
    assert [item.mask.shape[1] for item in cut.sets.values()] == [STEP, 5]
