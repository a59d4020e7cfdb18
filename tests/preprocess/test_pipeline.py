"""Event store in, model inputs out: aligned, masked, and scaled by the training events alone."""

import json
import tracemalloc

import numpy as np
import pytest

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError, StoreError
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.preprocess.chain import Scalers, invert_columns
from honeyguide.preprocess.pipeline import preprocess
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings

QCD = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
OTHER = SampleInfo(name="qcd_b", process="qcd", generator="herwig", label="background")
LIGHT = SampleInfo(name="svj_500", process="svj", generator="pythia", label="signal", signal_point={"mass": 500})
HEAVY = SampleInfo(name="svj_3500", process="svj", generator="pythia", label="signal", signal_point={"mass": 3500})
SPLITS = ("train", "validation", "test")


def make_block(num_events: int, *, key: int, scale: float = 1.0) -> EventBlock:
    """Events of one source file; a tenth of them have no jets."""
    rng = np.random.default_rng(key)
    jets_of = rng.integers(1, 6, num_events) * (rng.random(num_events) > 0.1)
    parts_of = rng.integers(1, 25, jets_of.sum())

    def columns(num: int) -> dict[str, np.ndarray]:
        return {
            "pt": (scale * rng.gamma(1.0, 40.0, num) + 1).astype(np.float32),
            "eta": rng.normal(0.3, 1.2, num).astype(np.float32),
            "phi": rng.uniform(-np.pi, np.pi, num).astype(np.float32),
        }

    jets = columns(len(parts_of)) | {"btag": rng.integers(0, 2, len(parts_of)).astype(np.int8)}
    ids = rng.choice([211, -211, 130, 22, -11, 13, 12], parts_of.sum()).astype(np.int32)
    return EventBlock(
        events={
            "id": (np.int64(key) << 24) + np.arange(num_events),
            "weight": rng.gamma(1.0, 1e-6, num_events),
            "met": (scale * rng.gamma(2.0, 50.0, num_events)).astype(np.float32),
            "met_phi": rng.uniform(-np.pi, np.pi, num_events).astype(np.float32),
        },
        collections={
            "jets": Collection("events", np.append(0, np.cumsum(jets_of)), jets),
            "constituents": Collection(
                "jets", np.append(0, np.cumsum(parts_of)), columns(parts_of.sum()) | {"pdg_id": ids}
            ),
        },
    )


def write_shard(path, sample, *blocks):
    with EventStoreWriter(path, sample=sample) as writer:
        for block in blocks:
            writer.append(block)
        writer.finalise()
    return path


def run(folder, shards, samples, *, only=None, fitted=None, **settings):
    folder.mkdir()
    shards = {name: paths for name, paths in shards.items() if only is None or name in only}
    preprocess(shards, folder, samples=samples, settings=PreprocessSettings(**settings), fitted=fitted)
    return folder


@pytest.fixture
def source(tmp_path):
    shards = {
        "qcd": [
            write_shard(tmp_path / "a.h5", QCD, make_block(700, key=11), make_block(300, key=12)),
            write_shard(tmp_path / "b.h5", QCD, make_block(400, key=13)),
        ],
        "qcd_b": [write_shard(tmp_path / "c.h5", OTHER, make_block(500, key=14))],
        "svj_3500": [write_shard(tmp_path / "d.h5", HEAVY, make_block(200, key=15, scale=8))],
        "svj_500": [write_shard(tmp_path / "e.h5", LIGHT, make_block(200, key=16, scale=3))],
    }
    return shards, (QCD, OTHER, HEAVY, LIGHT)


@pytest.mark.parametrize("level", ["event", "jet", "constituent"])
def test_every_event_is_there_once_and_aligned_at_every_level(tmp_path, source, level):
    folder = run(tmp_path / "out", *source, level=level, block_events=170)
    spec = read_spec(folder)
    blocks = {"qcd": (11, 12, 13), "qcd_b": (14,), "svj_3500": (15,), "svj_500": (16,)}
    sizes = {11: 700, 12: 300, 13: 400, 14: 500, 15: 200, 16: 200}
    for sample, keys in blocks.items():
        parts = [ModelInputs.open(list_inputs(folder, s)[sample]) for s in SPLITS if sample in list_inputs(folder, s)]
        ids = np.concatenate([part.event_id for part in parts])
        truth = {}
        for key in keys:
            block = make_block(sizes[key], key=key, scale={15: 8, 16: 3}.get(key, 1))
            truth |= dict(zip(block.events["id"].tolist(), zip(*rows_of(block, level), strict=True), strict=True))
        assert sorted(ids.tolist()) == sorted(truth)
        for part in parts:
            assert part.objects.shape[1:] == (spec.num_objects, spec.num_features)
            assert part.weight.tolist() == [truth[i][0] for i in part.event_id.tolist()]
            assert part.mask.sum(axis=1).tolist() == [truth[i][1] for i in part.event_id.tolist()]
            assert not part.objects[~part.mask].any()
            assert np.isfinite(part.objects).all()
            if level != "event":
                assert not part.mask[[truth[i][1] == 0 for i in part.event_id.tolist()]].any()


def rows_of(block, level):
    """Weight and number of objects that are kept, of each event."""
    jets, parts = block.collections["jets"], block.collections["constituents"].counts
    numbers = []
    for event in range(len(block)):
        own = np.arange(jets.offsets[event], jets.offsets[event + 1])
        leading = own[np.argsort(-jets.columns["pt"][own], kind="stable")][:3]
        numbers.append({"event": 1, "jet": len(leading), "constituent": np.minimum(parts[leading], 15).sum()}[level])
    return block.events["weight"].tolist(), numbers


def test_objects_hold_the_features_of_the_store(tmp_path, source):
    folder = run(
        tmp_path / "out", *source, event_features=(FeatureSetting(name="met", scaler="log+standard"),), block_events=150
    )
    spec, scalers = read_spec(folder), Scalers.read(folder)
    assert [c.name for c in spec.columns][:4] == ["pt", "eta", "sin(phi)", "cos(phi)"]
    inputs = ModelInputs.open(folder / "qcd_b" / "train.h5")
    block = make_block(500, key=14)
    jets, parts = block.collections["jets"], block.collections["constituents"]
    values = invert_columns(scalers.objects, inputs.objects.reshape(-1, 3, 15, spec.num_features))
    mask = inputs.mask.reshape(-1, 3, 15)
    met = invert_columns(scalers.event, inputs.event)["met"]
    for row, event in enumerate((inputs.event_id & 0xFFFFFF).tolist()):
        assert met[row] == pytest.approx(block.events["met"][event], rel=1e-4)
        own = np.arange(jets.offsets[event], jets.offsets[event + 1])
        for rank, jet in enumerate(own[np.argsort(-jets.columns["pt"][own])][:3]):
            inside = np.arange(parts.offsets[jet], parts.offsets[jet + 1])
            inside = inside[np.argsort(-parts.columns["pt"][inside])][:15]
            there = slice(0, len(inside))
            assert mask[row, rank].tolist() == [True] * len(inside) + [False] * (15 - len(inside))
            for name in ("pt", "eta", "phi"):
                np.testing.assert_allclose(
                    values[name][row, rank, there], parts.columns[name][inside], rtol=1e-4, atol=1e-5
                )
            assert (values["jet_btag"][row, rank, there] == jets.columns["btag"][jet]).all()


def test_training_events_are_standard_and_only_they(tmp_path, source):
    folder = run(tmp_path / "out", *source)
    files = list_inputs(folder, "train")
    assert sorted(files) == ["qcd", "qcd_b"]
    values = np.concatenate([(i := ModelInputs.open(f)).objects[i.mask] for f in files.values()]).astype(float)
    np.testing.assert_allclose(values[:, :2].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values[:, :2].std(axis=0), 1, atol=1e-6)
    heavy = ModelInputs.open(folder / "svj_3500" / "test.h5")
    # eight times the momentum is a shift by ln 8 before scaling: BEAD's scalers per file would hide it
    assert heavy.objects[heavy.mask][:, 0].mean() > 1


@pytest.mark.parametrize("scaler", ["log+standard", "robust", "quantile"])
def test_signal_and_test_events_do_not_touch_the_scalers(tmp_path, source, scaler):
    shards, samples = source
    features = (FeatureSetting(name="pt", scaler=scaler), FeatureSetting(name="eta", scaler="minmax"))
    first = run(tmp_path / "first", shards, samples, features=features)
    used = ModelInputs.open(first / "qcd_b" / "train.h5").event_id
    block = make_block(500, key=14)
    spoiled = np.repeat(~np.isin(block.events["id"], used), block.collections["jets"].counts)
    spoiled = np.repeat(spoiled, block.collections["constituents"].counts)
    assert spoiled.any()
    block.collections["constituents"].columns["pt"][spoiled] *= 10
    block.collections["constituents"].columns["eta"][spoiled] = 99
    changed = {
        **shards,
        "qcd_b": [write_shard(tmp_path / "c2.h5", OTHER, block)],
        "svj_500": [write_shard(tmp_path / "e2.h5", LIGHT, make_block(300, key=17, scale=100))],
    }
    second = run(tmp_path / "second", changed, samples, features=features)
    assert (first / "scalers.json").read_text() == (second / "scalers.json").read_text()
    # and a training event does
    block.collections["constituents"].columns["pt"][:] *= 10
    third = run(
        tmp_path / "third",
        {**shards, "qcd_b": [write_shard(tmp_path / "c3.h5", OTHER, block)]},
        samples,
        features=features,
    )
    assert (first / "scalers.json").read_text() != (third / "scalers.json").read_text()


def test_order_of_files_and_size_of_blocks_change_no_split_and_no_value(tmp_path, source):
    shards, samples = source
    first = run(tmp_path / "first", shards, samples)
    moved = {name: list(reversed(paths)) for name, paths in reversed(shards.items())}
    second = run(tmp_path / "second", moved, tuple(reversed(samples)), block_events=97)
    assert read_spec(first) == read_spec(second)
    for split in SPLITS:
        assert list(list_inputs(first, split)) == list(list_inputs(second, split))
        for name, path in list_inputs(first, split).items():
            a, b = ModelInputs.open(path), ModelInputs.open(list_inputs(second, split)[name])
            rows, others = np.argsort(a.event_id), np.argsort(b.event_id)
            np.testing.assert_array_equal(a.event_id[rows], b.event_id[others])
            np.testing.assert_allclose(a.objects[rows], b.objects[others], rtol=1e-6, atol=1e-6)


def test_sampled_scalers_draw_the_same_objects_whatever_the_order_and_blocks(tmp_path, source):
    shards, samples = source
    features = (FeatureSetting(name="pt", scaler="quantile"), FeatureSetting(name="eta", scaler="robust"))
    first = run(tmp_path / "first", shards, samples, features=features, fit_sample=1000)
    moved = {name: list(reversed(paths)) for name, paths in reversed(shards.items())}
    second = run(
        tmp_path / "second", moved, tuple(reversed(samples)), features=features, fit_sample=1000, block_events=97
    )
    assert (first / "scalers.json").read_text() == (second / "scalers.json").read_text()
    everything = run(tmp_path / "everything", shards, samples, features=features)
    assert (first / "scalers.json").read_text() != (everything / "scalers.json").read_text()


def test_codes_and_labels(tmp_path, source):
    folder = run(tmp_path / "out", *source)
    spec = read_spec(folder)
    assert spec.processes == ("qcd", "svj")
    assert spec.generators == ("herwig", "pythia")
    assert spec.signal_points == ("mass=500", "mass=3500")
    expected = {"qcd": (0, 0, 1, -1), "qcd_b": (0, 0, 0, -1), "svj_500": (1, 1, 1, 0), "svj_3500": (1, 1, 1, 1)}
    for name, path in list_inputs(folder, "test").items():
        inputs = ModelInputs.open(path)
        for column, value in zip(("label", "process", "generator", "signal_point"), expected[name], strict=True):
            assert set(getattr(inputs, column).tolist()) == {value}, (name, column)
    assert sorted(list_inputs(folder, "validation")) == ["qcd", "qcd_b"]


def test_other_events_are_scaled_as_those_of_the_training(tmp_path, source):
    shards, samples = source
    first = run(tmp_path / "first", shards, samples[:2] + samples[3:], only=("qcd", "qcd_b", "svj_500"))
    second = run(tmp_path / "second", shards, (HEAVY, LIGHT), only=("svj_3500", "svj_500"), fitted=first)
    assert (first / "scalers.json").read_text() == (second / "scalers.json").read_text()
    a, b = (ModelInputs.open(folder / "svj_500" / "test.h5") for folder in (first, second))
    np.testing.assert_array_equal(a.objects, b.objects)
    for column in ("process", "generator", "signal_point"):
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    assert read_spec(second).signal_points == ("mass=500", "mass=3500")
    other = (FeatureSetting(name="pt", scaler="log"),)
    with pytest.raises(ConfigError, match="columns differ"):
        run(tmp_path / "third", shards, samples, fitted=first, features=other)
    rescaled = tuple(
        FeatureSetting(name=f.name, scaler="standard" if f.name == "pt" else f.scaler)
        for f in PreprocessSettings().object_features
    )
    with pytest.raises(ConfigError, match="scalers differ"):
        run(tmp_path / "fourth", shards, samples, fitted=first, features=rescaled)


def test_a_chain_of_two_fits_takes_two_passes(tmp_path, source):
    features = (FeatureSetting(name="pt", scaler="standard+quantile"), FeatureSetting(name="eta", scaler="standard"))
    reports = []
    folder = tmp_path / "out"
    folder.mkdir()
    preprocess(
        source[0],
        folder,
        samples=source[1],
        settings=PreprocessSettings(features=features),
        progress=lambda done, total: reports.append((done, total)),
    )
    inputs = [ModelInputs.open(path) for path in list_inputs(folder, "train").values()]
    values = np.concatenate([i.objects[i.mask] for i in inputs]).astype(float)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=2e-2)
    assert reports[-1] == (2 * 1900 + 2300, 2 * 1900 + 2300)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_nothing_to_fit_takes_no_pass(tmp_path, source):
    folder = run(tmp_path / "out", *source, features=(FeatureSetting(name="phi", scaler="sincos"),))
    assert json.loads((folder / "scalers.json").read_text())["objects"][0]["stages"] == [{"name": "sincos"}]


def test_no_event_for_training_is_an_error(tmp_path, source):
    shards, samples = source
    with pytest.raises(DataError, match=r"no event is for training[\s\S]*svj_500 \(signal, split: test\)"):
        run(tmp_path / "out", {name: shards[name] for name in ("svj_3500", "svj_500")}, samples[2:])


def test_training_events_without_objects_are_an_error(tmp_path):
    block = make_block(50, key=1)
    nothing = np.zeros(51, dtype=np.int64)
    jets = {name: values[:0] for name, values in block.collections["jets"].columns.items()}
    parts = {name: values[:0] for name, values in block.collections["constituents"].columns.items()}
    collections = {"jets": Collection("events", nothing, jets), "constituents": Collection("jets", nothing[:1], parts)}
    shard = write_shard(tmp_path / "a.h5", QCD, EventBlock(events=block.events, collections=collections))
    with pytest.raises(DataError, match="nothing to be fitted on"):
        run(tmp_path / "out", {"qcd": [shard]}, (QCD,))


def test_sample_without_events_is_an_error(tmp_path, source):
    shards, samples = source
    empty = make_block(0, key=20)
    shards = {**shards, "svj_500": [write_shard(tmp_path / "empty.h5", LIGHT, empty)]}
    with pytest.raises(DataError, match=r"'svj_500' has no events[\s\S]*empty\.h5"):
        run(tmp_path / "out", shards, samples)


def test_same_file_in_two_shards_is_an_error(tmp_path, source):
    shards, samples = source
    copy = write_shard(tmp_path / "copy.h5", OTHER, make_block(500, key=14), make_block(5, key=12))
    with pytest.raises(DataError, match=r"same id[\s\S]*copy\.h5[\s\S]*a\.h5"):
        run(tmp_path / "out", {**shards, "qcd_b": [copy]}, samples)


@pytest.mark.parametrize("keys", [(30, 30), (30, 31, 30)])
def test_repeated_ids_in_a_shard_are_an_error(tmp_path, keys):
    shard = write_shard(tmp_path / "twice.h5", QCD, *(make_block(60, key=key) for key in keys))
    with pytest.raises(DataError, match=r"same id[\s\S]*twice\.h5"):
        run(tmp_path / "out", {"qcd": [shard]}, (QCD,))


def test_shards_and_samples_must_match(tmp_path, source):
    shards, samples = source
    with pytest.raises(DataError, match="belong to no sample"):
        run(tmp_path / "a", shards, samples[:-1])
    with pytest.raises(DataError, match="'svj_500' has no shards"):
        run(tmp_path / "b", {k: v for k, v in shards.items() if k != "svj_500"}, samples)
    with pytest.raises(DataError, match="'qcd' is given twice"):
        run(tmp_path / "c", shards, (*samples, QCD))
    mixed = {**shards, "qcd": shards["qcd_b"], "qcd_b": shards["qcd"]}
    with pytest.raises(DataError, match=r"another generator[\s\S]*c\.h5"):
        run(tmp_path / "d", mixed, samples)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_in_any_split(tmp_path, source, bad):
    shards, samples = source
    block = make_block(200, key=15)
    block.collections["jets"].columns["eta"][5] = bad
    shards = {**shards, "svj_3500": [write_shard(tmp_path / "bad.h5", HEAVY, block)]}
    with pytest.raises(DataError, match=r"'eta'[\s\S]*bad\.h5"):
        run(tmp_path / "out", shards, samples, level="jet")


def test_missing_column_and_shard_are_named(tmp_path, source):
    shards, samples = source
    with pytest.raises(StoreError, match="'mass' in 'jets'"):
        run(tmp_path / "a", shards, samples, level="jet", features=(FeatureSetting(name="mass"),))
    with pytest.raises(StoreError, match=r"gone\.h5"):
        run(tmp_path / "b", {**shards, "qcd": [tmp_path / "gone.h5"]}, samples)


def test_memory_does_not_grow_with_the_data(tmp_path):
    peaks = []
    for files in (4, 16):
        shard = write_shard(tmp_path / f"{files}.h5", QCD, *(make_block(500, key=100 + i) for i in range(files)))
        tracemalloc.start()
        run(tmp_path / f"out{files}", {"qcd": [shard]}, (QCD,), block_events=250)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
