"""Input histograms: conserve weights, agree with numpy, do not depend on the chunking, share axes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.histograms import fill_histograms, fill_input_histograms, read_histograms
from honeyguide.evaluation.settings import HistogramSettings
from honeyguide.io.event_store import EventStore, EventStoreWriter

PHOTON = 22


def make_shard(path, name, *, num_events=400, shift=0.0, label="background", seed=0):
    rng = np.random.default_rng(seed)
    jets = rng.integers(0, 4, num_events)
    constituents = rng.integers(1, 6, jets.sum())

    def kinematics(size, scale):
        return {
            "pt": (rng.exponential(scale, size) + shift).astype(np.float32),
            "eta": rng.normal(0, 1, size).astype(np.float32),
            "phi": rng.uniform(-np.pi, np.pi, size).astype(np.float32),
        }

    def offsets(counts):
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    size = int(constituents.sum())
    met = rng.exponential(100, num_events).astype(np.float32)
    block = EventBlock(
        events={
            "id": np.arange(num_events) + (seed << 24),
            "weight": rng.exponential(2, num_events),
            "met": met,
            "met_phi": rng.uniform(-np.pi, np.pi, num_events).astype(np.float32),
        },
        collections={
            "jets": Collection(
                "events",
                offsets(jets),
                kinematics(len(constituents), 300)
                | {
                    "mass": rng.exponential(50, len(constituents)).astype(np.float32),
                    "btag": rng.integers(0, 2, len(constituents)).astype(np.int8),
                },
            ),
            "constituents": Collection(
                "jets",
                offsets(constituents),
                kinematics(size, 30) | {"pdg_id": rng.choice([211, -211, PHOTON, 130], size).astype(np.int32)},
            ),
        },
    )
    point = {"mass": 3500.0, "r_inv": 0.3} if label == "signal" else None
    info = SampleInfo(name=name, process="svj" if point else "qcd", generator="pythia", label=label, signal_point=point)
    with EventStoreWriter(path, sample=info) as writer:
        writer.append(block)
        writer.finalise()
    return path


@pytest.fixture
def shards(tmp_path):
    return {
        "qcd": [
            make_shard(tmp_path / "a.h5", "qcd", seed=1),
            make_shard(tmp_path / "b.h5", "qcd", seed=2, num_events=123),
        ],
        "svj": [make_shard(tmp_path / "c.h5", "svj", seed=3, shift=500, label="signal")],
    }


def whole(paths):
    blocks = []
    for path in paths:
        with EventStore(path) as store:
            blocks += list(store.iter_blocks(10**9))
    return blocks


def test_nothing_is_lost_whatever_the_axis_covers(shards, tmp_path):
    """The sum over all bins with under- and overflow is the sum over all events or objects."""
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(coverage=0.8, num_bins=7))
    for name, paths in shards.items():
        blocks = whole(paths)
        entries = {
            "events": sum(len(block) for block in blocks),
            "jets": sum(len(block.collections["jets"]) for block in blocks),
            "constituents": sum(len(block.collections["constituents"]) for block in blocks),
        }
        weight = sum(block.events["weight"].sum() for block in blocks)
        for (collection, feature), histogram in result.histograms[name].items():
            assert histogram.counts.sum() == entries[collection], feature
            if collection == "events":
                assert histogram.sumw.sum() == pytest.approx(weight, rel=1e-12)
    assert result.histograms["svj"]["jets", "pt"].counts[-1] > 0
    assert result.histograms["qcd"]["events", "met"].counts[0] > 0


def test_bins_agree_with_numpy_and_jets_have_the_weight_of_their_event(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(num_bins=9, coverage=0.9))
    edges = result.edges["jets", "pt"]
    blocks = whole(shards["qcd"])
    pt = np.concatenate([block.collections["jets"].columns["pt"] for block in blocks]).astype(float)
    weight = np.concatenate([np.repeat(b.events["weight"], b.collections["jets"].counts) for b in blocks])
    histogram = result.histograms["qcd"]["jets", "pt"]
    np.testing.assert_array_equal(histogram.counts[1:-1], np.histogram(pt, edges)[0])
    np.testing.assert_allclose(histogram.sumw[1:-1], np.histogram(pt, edges, weights=weight)[0], rtol=1e-12)
    np.testing.assert_allclose(histogram.sumw2[1:-1], np.histogram(pt, edges, weights=weight**2)[0], rtol=1e-12)
    assert histogram.counts[0] == np.count_nonzero(pt < edges[0])
    assert histogram.counts[-1] == np.count_nonzero(pt >= edges[-1])


def test_constituents_have_the_weight_of_their_event_through_two_parents(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings())
    expected = 0.0
    for block in whole(shards["svj"]):
        of_jet = np.repeat(block.events["weight"], block.collections["jets"].counts)
        of_constituent = np.repeat(of_jet, block.collections["constituents"].counts)
        expected += of_constituent[block.collections["constituents"].columns["pdg_id"] == PHOTON].sum()
    key = ("constituents", "pdg_class")
    photon = 1 + result.categories[key].index("photon")
    assert result.histograms["svj"][key].sumw[photon] == pytest.approx(expected, rel=1e-12)


def test_chunking_does_not_matter(shards, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    settings = HistogramSettings(range_events=150)
    first = fill_histograms(shards, tmp_path / "one", settings=settings, num_events=7)
    second = fill_histograms(shards, tmp_path / "two", settings=settings, num_events=10_000)
    for key, edges in first.edges.items():
        np.testing.assert_array_equal(edges, second.edges[key])
        for name in shards:
            one, two = first.histograms[name][key], second.histograms[name][key]
            np.testing.assert_array_equal(one.counts, two.counts)
            np.testing.assert_allclose(one.sumw, two.sumw, rtol=1e-12)


def test_axes_cover_all_samples_angles_are_whole_and_integers_have_their_bins(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(num_bins=20, coverage=1.0))
    assert result.edges["jets", "phi"][[0, -1]] == pytest.approx([-np.pi, np.pi])
    np.testing.assert_allclose(result.edges["events", "num_jets"], [-0.5, 0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(result.edges["jets", "btag"], [-0.5, 0.5, 1.5])
    for name in shards:  # full coverage: nothing outside, the shifted signal included
        for key, histogram in result.histograms[name].items():
            assert histogram.counts[0] == histogram.counts[-1] == 0, key
    assert result.axis_labels["jets", "pt"].endswith("[GeV]")
    assert ("constituents", "pdg_id") not in result.edges  # a code has no order; its class is there


def test_differences_of_angles_have_axes_like_other_features(shards, tmp_path):
    edges = fill_histograms(shards, tmp_path, settings=HistogramSettings(coverage=0.6)).edges
    assert edges["constituents", "phi"][[0, -1]] == pytest.approx([-np.pi, np.pi])
    assert np.abs(edges["constituents", "delta_phi"]).max() < 0.7 * np.pi  # constituents lie around their jet


def test_what_is_read_is_what_was_written(shards, tmp_path):
    written = fill_histograms(shards, tmp_path, settings=HistogramSettings())
    read = read_histograms(tmp_path / "histograms.h5")
    assert read.samples == written.samples
    assert read.samples["svj"]["signal"] == "mass=3500,r_inv=0.3"
    assert (read.axis_labels, read.categories) == (written.axis_labels, written.categories)
    assert list(read.edges) == list(written.edges)
    for name in shards:
        for key, histogram in written.histograms[name].items():
            np.testing.assert_array_equal(read.histograms[name][key].sumw2, histogram.sumw2)
    summary = json.loads((tmp_path / "histograms.json").read_text())
    assert summary["samples"]["qcd"]["features"]["events/met"]["entries"] == 523


def test_nan_is_counted_and_in_no_bin(tmp_path):
    path = make_shard(tmp_path / "a.h5", "qcd")
    block = next(EventStore(path).iter_blocks(10**9))
    block.events["met"][[3, 5]] = np.nan
    with EventStoreWriter(tmp_path / "nan.h5", sample=EventStore(path).sample) as writer:
        writer.append(EventBlock({k: block.events[k] for k in ("id", "weight", "met", "met_phi")}, block.collections))
        writer.finalise()
    histogram = fill_histograms({"qcd": [tmp_path / "nan.h5"]}, tmp_path, settings=HistogramSettings()).histograms
    assert histogram["qcd"]["events", "met"].nan == 2
    assert histogram["qcd"]["events", "met"].counts.sum() == 398


def test_a_wrong_feature_or_an_empty_sample_is_a_readable_error(shards, tmp_path):
    with pytest.raises(ConfigError, match="nearest: mass"):
        fill_histograms(shards, tmp_path, settings=HistogramSettings(features={"jets": ("mas",)}))
    with pytest.raises(ConfigError, match="nearest: jets"):
        fill_histograms(shards, tmp_path, settings=HistogramSettings(features={"jest": ("pt",)}))
    with pytest.raises(DataError, match="'empty' has no event-store files"):
        fill_histograms({**shards, "empty": []}, tmp_path, settings=HistogramSettings())


def test_only_the_wanted_features_are_filled(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(features={"jets": ("pt", "mass")}))
    assert list(result.edges) == [("jets", "pt"), ("jets", "mass")]


def test_model_inputs_are_filled_without_their_padding(tmp_path):
    spec = InputSpec(
        level="jet",
        shape=(3,),
        columns=(Column(name="pt", feature="pt", kind="continuous"), Column(name="b", feature="btag", kind="binary")),
        event_columns=(Column(name="met", feature="met", kind="continuous"),),
        processes=("qcd", "svj"),
        generators=("pythia",),
        signal_points=("mass=1",),
    )
    rng = np.random.default_rng(0)
    (tmp_path / "inputs").mkdir()
    write_spec(tmp_path / "inputs", spec)
    mask = rng.random((50, 3)) < 0.6
    objects = np.where(mask[..., None], rng.normal(0, 1, (50, 3, 2)), 0).astype(np.float32)
    objects[..., 1] = mask * rng.integers(0, 2, (50, 3))
    weight, met = rng.exponential(1, 50), rng.normal(0, 1, (50, 1)).astype(np.float32)
    codes = dict.fromkeys(("label", "process", "signal_point"), np.zeros(50, int))
    with ModelInputsWriter(tmp_path / "inputs" / "svj" / "test.h5", num_events=50, spec=spec) as writer:
        writer.append(
            {"objects": objects, "mask": mask, "event": met, "event_id": np.arange(50), "weight": weight}
            | codes
            | {"label": np.ones(50, int), "process": np.ones(50, int), "generator": np.zeros(50, int)}
        )
    settings = HistogramSettings(coverage=1)
    result = fill_input_histograms(tmp_path / "inputs", "test", tmp_path, settings=settings, num_events=7)
    info = {"process": "svj", "generator": "pythia", "label": "signal", "signal": "mass=1"}
    assert result.samples == {"svj": info}
    pt, met_histogram = (result.histograms["svj"][key] for key in (("objects", "pt"), ("event", "met")))
    np.testing.assert_array_equal(
        pt.counts[1:-1], np.histogram(objects[mask][:, 0].astype(float), result.edges["objects", "pt"])[0]
    )
    assert pt.counts.sum() == mask.sum()
    assert pt.sumw.sum() == pytest.approx(weight @ mask.sum(1))
    assert met_histogram.sumw.sum() == pytest.approx(weight.sum())
    assert result.axis_labels["objects", "pt"] == "scaled pt"
    with pytest.raises(DataError, match="no sample has events in the split 'train'"):
        fill_input_histograms(tmp_path / "inputs", "train", tmp_path, settings=settings)
