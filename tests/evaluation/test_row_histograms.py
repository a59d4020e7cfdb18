"""Histograms of rows: per truth on one binning, of free columns and collections, of the sets that a model sees."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.histograms import fill_histograms, fill_input_histograms, read_histograms
from honeyguide.evaluation.settings import HistogramSettings
from honeyguide.io.event_store import EventStore, EventStoreWriter
from honeyguide.plotting.histograms import feature_figure
from tests.planted import write_row_inputs


def write_rows(path, name, truths, *, seed, scale, num_rows=300):
    """A shard of jets with free columns, two collections and truths in the given order; some have no truth."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, num_rows)
    size = int(counts.sum())
    block = EventBlock(
        events={
            "id": np.arange(num_rows) + (seed << 24),
            "weight": rng.exponential(2, num_rows),
            "truth": rng.integers(-1, len(truths), num_rows).astype(np.int16),
            "group": np.arange(num_rows),
            "pt": rng.exponential(scale, num_rows).astype(np.float32),
            "score": np.where(rng.random(num_rows) < 0.1, np.nan, rng.random(num_rows)),
            "ncand": rng.integers(2, 9, num_rows).astype(np.int32),
            "is_tagged": rng.random(num_rows) < 0.3,
        },
        collections={
            "cpf": Collection(
                "events",
                np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                {"pt": rng.exponential(2, size).astype(np.float32), "dxysig": rng.normal(0, 3, size)},
            ),
            "sv": Collection("events", np.zeros(num_rows + 1, np.int64), {"mass": np.zeros(0, np.float32)}),
        },
    )
    info = SampleInfo(name=name, process=name, generator="g", label="background")
    with EventStoreWriter(path, sample=info, truths=truths) as writer:
        writer.append(block)
        writer.finalise()
    return path


@pytest.fixture
def shards(tmp_path):
    truths = ("b", "c", "light")
    return {
        "tt": [
            write_rows(tmp_path / "a.h5", "tt", truths, seed=1, scale=60),
            write_rows(tmp_path / "b.h5", "tt", truths, seed=2, scale=300),
        ],
        "qcd": [write_rows(tmp_path / "c.h5", "qcd", ("light", "b", "g"), seed=3, scale=100)],
    }


FEATURES = {"events": ("pt", "ncand", "is_tagged", "num_cpf", "num_sv"), "cpf": ("pt", "dxysig")}


def whole(shards):
    """All rows: columns of the jets, and truths by name."""
    columns = {}
    for path in (path for paths in shards.values() for path in paths):
        with EventStore(path) as store:
            (block,) = store.iter_blocks(10**9)
            names = np.array([*store.attrs["truths"], "none"])
            cpf = block.collections["cpf"]
            parts = {**block.events, "truth": names[block.events["truth"]], "num_cpf": cpf.counts}
            parts |= {"cpf_pt": cpf.columns["pt"], "cpf_truth": np.repeat(parts["truth"], cpf.counts)}
            for name, values in parts.items():
                columns.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def test_files_of_different_spectra_share_one_binning_and_every_row_is_counted_once(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(features=FEATURES), num_events=37)
    assert list(result.histograms) == ["b", "c", "light", "g"]
    rows = whole(shards)
    edges = result.edges["events", "pt"]
    for truth, histograms in result.histograms.items():
        mine = rows["truth"] == truth
        pt, weight = rows["pt"][mine].astype(float), rows["weight"][mine]
        histogram = histograms["events", "pt"]
        np.testing.assert_array_equal(histogram.counts[1:-1], np.histogram(pt, edges)[0])
        np.testing.assert_allclose(histogram.sumw[1:-1], np.histogram(pt, edges, weights=weight)[0])
        assert histogram.counts.sum() == mine.sum()
        objects = rows["cpf_pt"][rows["cpf_truth"] == truth].astype(float)
        assert histograms["cpf", "pt"].counts.sum() == len(objects)
        np.testing.assert_array_equal(
            histograms["cpf", "pt"].counts[1:-1], np.histogram(objects, result.edges["cpf", "pt"])[0]
        )


def test_integers_flags_and_numbers_of_objects_have_a_bin_per_value(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(coverage=1))
    np.testing.assert_allclose(result.edges["events", "ncand"], np.arange(1.5, 9))
    np.testing.assert_allclose(result.edges["events", "is_tagged"], [-0.5, 0.5, 1.5])
    np.testing.assert_allclose(result.edges["events", "num_cpf"], np.arange(-0.5, 5))
    np.testing.assert_allclose(result.edges["events", "num_sv"], [-0.5, 0.5])
    rows = whole(shards)
    expected = np.bincount(rows["num_cpf"][rows["truth"] == "c"], minlength=5)
    np.testing.assert_array_equal(result.histograms["c"]["events", "num_cpf"].counts[1:-1], expected)
    assert not {"truth", "group", "id"} & {name for _, name in result.edges}


def test_a_collection_without_objects_has_empty_histograms_unless_it_is_asked_for(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings())
    assert result.histograms["b"]["sv", "mass"].counts.sum() == 0
    feature_figure(result, ("sv", "mass"), settings=HistogramSettings())
    with pytest.raises(DataError, match=r"no sample has a finite value of sv.mass"):
        fill_histograms(shards, tmp_path, settings=HistogramSettings(features={"sv": ("mass",)}))


def test_nan_of_a_truth_is_counted_with_it(shards, tmp_path):
    result = fill_histograms(shards, tmp_path, settings=HistogramSettings(features={"events": ("score",)}))
    rows = whole(shards)
    for truth, histograms in result.histograms.items():
        mine = rows["score"][rows["truth"] == truth]
        histogram = histograms["events", "score"]
        assert (histogram.nan, histogram.counts.sum()) == (np.isnan(mine).sum(), np.isfinite(mine).sum())
    assert sum(histograms["events", "score"].nan for histograms in result.histograms.values()) > 20


def test_units_are_those_of_the_feature_table_where_it_knows_the_name(shards, tmp_path):
    labels = fill_histograms(shards, tmp_path, settings=HistogramSettings(features=FEATURES)).axis_labels
    assert labels["events", "pt"] == "pt [GeV]"
    assert labels["cpf", "pt"] == "cpf: pt [GeV]"
    assert labels["cpf", "dxysig"] == "cpf: dxysig"


def test_samples_have_histograms_where_that_is_asked_for(shards, tmp_path):
    settings = HistogramSettings(by="sample", features={"events": ("pt",)})
    result = fill_histograms(shards, tmp_path, settings=settings)
    assert {name: h["events", "pt"].counts.sum() for name, h in result.histograms.items()} == {"tt": 600, "qcd": 300}
    assert result.samples["tt"]["process"] == "tt"


def test_the_figure_has_all_truths_the_flows_and_the_ratio_to_the_reference(shards, tmp_path):
    settings = HistogramSettings(features=FEATURES, reference="light", normalise=False, weighted=False, coverage=0.9)
    fill_histograms(shards, tmp_path, settings=settings)
    histograms = read_histograms(tmp_path / "histograms.h5")
    key = ("events", "pt")
    top, bottom = feature_figure(histograms, key, settings=settings).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["b", "c", "light", "g"]
    assert top.get_title(loc="right") == "ratio to light"
    edges = histograms.edges[key]
    drawn = {patch.get_label(): patch.get_data() for patch in top.patches if not patch.get_label().startswith("_")}
    np.testing.assert_allclose(drawn["b"].values, histograms.histograms["b"][key].counts[1:-1])
    flows = [patch.get_data() for patch in top.patches if patch.get_label().startswith("_") or not patch.get_label()]
    assert {(flow.edges[0] < edges[0], float(flow.values[0])) for flow in flows} == {
        (side == 0, h[key].counts[-side]) for h in histograms.histograms.values() for side in (0, 1)
    }
    low, high = bottom.get_xlim()
    assert low < edges[0]
    assert high > edges[-1]
    assert {text.get_text() for text in bottom.texts} == {"underflow", "overflow"}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_model_inputs_of_rows_have_their_own_columns_and_those_of_all_sets(tmp_path, split):
    folder = write_row_inputs(tmp_path / "inputs")
    settings = HistogramSettings(source=split, coverage=1)
    result = fill_input_histograms(folder, split, tmp_path, settings=settings, num_events=50)
    assert list(result.histograms) == ["b", "c", "light"]
    inputs = [ModelInputs.open(folder / name / f"{split}.h5") for name in ("qcd", "ttbar")]
    for code, histograms in enumerate(result.histograms.values()):
        cpf = np.concatenate(
            [i.sets["cpf"].features[i.truth == code][i.sets["cpf"].mask[i.truth == code]] for i in inputs]
        )
        np.testing.assert_array_equal(
            histograms["cpf", "cpf1"].counts[1:-1],
            np.histogram(cpf[:, 1].astype(float), result.edges["cpf", "cpf1"])[0],
        )
        numbers = np.concatenate([i.sets["sv"].mask[i.truth == code].sum(1) for i in inputs])
        np.testing.assert_array_equal(
            histograms["event", "num_sv"].counts[1:-1],
            np.histogram(numbers, result.edges["event", "num_sv"])[0],
        )
        assert histograms["event", "global0"].counts.sum() == len(numbers)
    assert result.axis_labels["cpf", "cpf1"] == "cpf: scaled cpf1"


def test_events_without_truths_have_no_histograms_by_truth(tmp_path):
    shard = write_rows(tmp_path / "a.h5", "tt", (), seed=1, scale=60)
    settings = HistogramSettings(features={"events": ("pt",)})
    assert list(fill_histograms({"tt": [shard]}, tmp_path, settings=settings).histograms) == ["tt"]
    with pytest.raises(ConfigError, match=r"no truths(.|\n)*histograms.by"):
        fill_histograms({"tt": [shard]}, tmp_path, settings=settings.model_copy(update={"by": "truth"}))
