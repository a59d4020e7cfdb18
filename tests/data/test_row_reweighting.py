"""Sampling anew in every epoch: the reference's spectrum, as weights give it, and the same rows whatever the memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from honeyguide.data import streams
from honeyguide.data.event_weights import EventWeights, make_event_weights, refit_reweighting, reweighted, sampled
from honeyguide.data.model_inputs import ModelInputs, ModelInputsWriter
from honeyguide.data.reweighting import JetBlock, Reweighting, fill_spectra, make_reweighting
from honeyguide.data.reweighting_settings import JetBinning, ReweightingSettings
from honeyguide.data.row_reweighting import RowSampling, jet_blocks, read_row_reweighting
from honeyguide.data.streams import BatchStream
from honeyguide.errors import DataError, StoreError
from tests.planted import ROW_TRUTHS, make_row_spec, make_rows, make_spec, write_sample

BINS = JetBinning(pt=(20, 40, 60, 100, 160, 1000), eta=(0, 1.2, 2.5))


def make_source(num_rows: int, first_id: int = 0) -> ModelInputs:
    return ModelInputs.from_arrays(make_rows(num_rows, first_id=first_id))


def reweighting_of(sources: list[ModelInputs], **settings: object) -> Reweighting:
    chosen = ReweightingSettings(**{"reference": "b", "bins": BINS, **settings})
    return make_reweighting(
        fill_spectra((block for source in sources for block in jet_blocks(source)), ROW_TRUTHS, chosen), chosen
    )


def stream_of(sources, *, seed=3, batch_size=64, resident=0, part=(0, 1), shuffle=3, **settings) -> BatchStream:
    sampling = RowSampling(reweighting_of(sources, **settings), seed)
    return BatchStream(
        sources,
        batch_size=batch_size,
        shuffle_seed=shuffle,
        resident_bytes=resident,
        part=part,
        event_weights=sampled(EventWeights(), sampling, sources),
    )


def ids_of(stream: BatchStream, epoch: int = 0, first: int = 0) -> list[list[int]]:
    return [batch.event_id.tolist() for batch in stream.batches(epoch, first=first)]


@examples(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 500), min_size=1, max_size=3).filter(lambda sizes: sum(sizes) > 150),
    batch_size=st.integers(4, 200),
    seed=st.one_of(st.none(), st.integers(0, 5)),
    pool_bytes=st.sampled_from([1, 20_000, 200_000]),
    epoch=st.integers(0, 2),
)
def test_exactly_the_sampled_rows_come_once_whatever_the_memory(lengths, batch_size, seed, pool_bytes, epoch):
    sources = [make_source(n, 10_000 * i) for i, n in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "POOL_BYTES", pool_bytes)
        patch.setattr(streams, "CHUNK_ROWS", 16)
        streamed = stream_of(sources, shuffle=seed, batch_size=batch_size)
        batches = ids_of(streamed, epoch)
        assert batches == ids_of(stream_of(sources, shuffle=seed, batch_size=batch_size, resident=10**9), epoch)
        for first in (1, len(batches) // 2):  # an epoch can be entered at any batch
            assert ids_of(streamed, epoch, first) == batches[first:]
    sampling = RowSampling(reweighting_of(sources), 3)
    expected = [int(i) for source in sources for i in source.event_id[sampling.kept(source, epoch)]]
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == expected
    assert flat == expected or seed is not None
    sizes = [len(batch) for batch in batches]
    assert len(sizes) == len(streamed)
    assert max(sizes) - min(sizes) <= 1
    assert [streamed.events_in(i, epoch) for i in range(len(sizes))] == sizes
    assert streamed.events_before(len(sizes), epoch) == len(flat)
    if epoch == 0:
        assert streamed.num_events == len(flat)
        assert max(sizes) <= batch_size


def test_parts_together_are_the_sampled_batches():
    sources = [make_source(700), make_source(300, 5000)]
    whole = ids_of(stream_of(sources), 1)
    parts = [ids_of(stream_of(sources, part=(number, 3)), 1) for number in range(3)]
    assert [[i for piece in pieces for i in piece] for pieces in zip(*parts, strict=True)] == whole


def test_rows_are_sampled_anew_with_epoch_and_seed_and_with_nothing_else():
    sources = [make_source(2000)]
    drawn = {
        (seed, epoch): frozenset(i for batch in ids_of(stream_of(sources, seed=seed), epoch) for i in batch)
        for seed in (1, 2)
        for epoch in (0, 1)
    }
    assert len(set(drawn.values())) == 4
    again = ids_of(stream_of(sources, seed=1, shuffle=99, batch_size=7), 1)
    assert frozenset(i for batch in again for i in batch) == drawn[1, 1]


def spectra_of(rows: dict[str, np.ndarray], weight: np.ndarray | None = None) -> np.ndarray:
    settings = ReweightingSettings(reference="b", bins=BINS)
    block = JetBlock(rows["truth"], rows["pt"], rows["eta"], weight)
    return fill_spectra([block], ROW_TRUTHS, settings).inside


def drawn_rows(stream: BatchStream, source: ModelInputs, epochs: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the batches of some epochs hold: truth, pt and eta, and the weights."""
    batches = [batch for epoch in range(epochs) for batch in stream.batches(epoch)]
    place = np.concatenate([batch.event_id.numpy() for batch in batches]) - int(source.event_id[0])
    rows = {name: np.asarray(getattr(source, name))[place] for name in ("truth", "pt", "eta")}
    return rows, np.concatenate([batch.weight.double().numpy() for batch in batches])


@pytest.mark.parametrize("normalise", ["truth", "reference"])
def test_sampled_rows_have_the_reference_spectrum_as_weighted_ones_have(normalise):
    source = make_source(20_000)
    rows, weight = drawn_rows(stream_of([source], normalise=normalise, batch_size=4096), source, 6)
    assert set(weight.tolist()) == {1.0}
    found = spectra_of(rows)
    shapes = found / found.sum((1, 2), keepdims=True)
    before = spectra_of(source.arrays())
    before = before / before.sum((1, 2), keepdims=True)
    errors = np.sqrt(found) / found.sum((1, 2), keepdims=True) + 1e-9
    assert np.abs((before - before[0]) / errors)[1:].max() > 15  # the planted spectra differ
    assert np.abs((shapes - before[0]) / errors).max() < 5
    reweighting = reweighting_of([source], normalise=normalise)
    stream = BatchStream(
        [source], batch_size=4096, shuffle_seed=1, event_weights=reweighted(EventWeights(), reweighting, [source])
    )
    weighted_rows, weights = drawn_rows(stream, source, 1)
    assert weights.mean() == pytest.approx(1)
    weighted = spectra_of(weighted_rows, weights)
    np.testing.assert_allclose(weighted / weighted.sum((1, 2), keepdims=True), np.broadcast_to(before[0], shapes.shape))
    if normalise == "reference":  # truths are balanced by both
        np.testing.assert_allclose(weighted.sum((1, 2)) / weighted.sum(), 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(found.sum((1, 2)) / found.sum(), 1 / 3, atol=0.01)


@pytest.mark.parametrize("how", ["weights", "sampling"])
def test_weights_of_events_and_the_reweighting_give_the_reference_spectrum_together(how):
    arrays = make_rows(20_000, first_id=0)
    arrays["weight"] = np.where(arrays["pt"] > 60, 1e-6, 4e-6) * (1 + arrays["truth"])
    source = ModelInputs.from_arrays(arrays)
    physics = make_event_weights("physics", [source])
    reweighting = refit_reweighting(reweighting_of([source]), [source], physics)
    if how == "weights":
        weights = reweighted(physics, reweighting, [source])
    else:
        weights = sampled(physics, RowSampling(reweighting, 1), [source])
    stream = BatchStream([source], batch_size=4096, shuffle_seed=1, event_weights=weights)
    rows, weight = drawn_rows(stream, source, 4)
    assert weight.mean() == pytest.approx(1, rel=1e-5 if how == "weights" else 0.02)
    found, before = spectra_of(rows, weight), spectra_of(source.arrays(), np.asarray(source.weight))
    shapes, expected = (part / part.sum((1, 2), keepdims=True) for part in (found, before))
    errors = np.sqrt(spectra_of(rows, weight**2)) / found.sum((1, 2), keepdims=True)
    tolerance = 1e-5 if how == "weights" else 5 * errors.max()
    np.testing.assert_allclose(shapes, np.broadcast_to(expected[0], shapes.shape), atol=tolerance)


def test_a_sampling_that_leaves_a_batch_empty_is_an_error():
    source = make_source(30)
    stream = stream_of([source], batch_size=1)
    with pytest.raises(DataError, match="loss_weighting"):
        sum(len(ids_of(stream, epoch)) for epoch in range(200))


def test_events_without_truth_can_not_be_reweighted(tmp_path):
    inputs = ModelInputs.open(write_sample(tmp_path, "qcd", "train", num_events=50, first_id=1, spec=make_spec()))
    with pytest.raises(DataError, match="only rows"):
        reweighted(EventWeights(), reweighting_of([make_source(300)]), [inputs])


def test_a_damaged_reweighting_is_an_error(tmp_path):
    assert read_row_reweighting(tmp_path) is None
    reweighting = reweighting_of([make_source(500)])
    (tmp_path / "reweighting.json").write_text(json.dumps(reweighting.to_json()))
    np.testing.assert_array_equal(read_row_reweighting(tmp_path).factors, reweighting.factors)
    (tmp_path / "reweighting.json").write_text("{}")
    with pytest.raises(StoreError, match=r"reweighting\.json"):
        read_row_reweighting(tmp_path)


def test_memory_of_a_sampled_stream_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    """Files of 1x and 10x rows, streamed: what the process holds beside one byte per row stays the same."""
    monkeypatch.setattr(streams, "POOL_BYTES", 2**18)
    spec, peaks = make_row_spec(), []
    for factor in (1, 10):
        path = Path(tmp_path / f"{factor}.h5")
        with ModelInputsWriter(path, num_events=factor * 3000, spec=spec) as writer:
            for number in range(factor):
                writer.append(make_rows(3000, first_id=3000 * number))
        stream = stream_of([ModelInputs.open(path)], batch_size=64)
        tracemalloc.start()
        total = sum(len(batch) for batch in stream.batches(1))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert total > 500 * factor
    assert peaks[1] - peaks[0] < 27_000 * 40
