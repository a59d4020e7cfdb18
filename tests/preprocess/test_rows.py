"""Rows of a store in, model inputs out: padded as an independent construction, divided by group, scaled by training."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.reweighting import JetBlock, fill_spectra, read_reweighting
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.preprocess import census
from honeyguide.preprocess.chain import Scalers
from honeyguide.preprocess.pipeline import preprocess
from honeyguide.preprocess.row_store import check_no_shared_files
from honeyguide.preprocess.settings import PreprocessSettings

QCD = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
TOP = SampleInfo(name="ttbar", process="ttbar", generator="pythia", label="background")
TRUTHS = ("b", "c", "light")
SPLITS = ("train", "validation", "test")
SETTINGS = {
    "level": "row",
    "event_features": [{"name": "jet_pt", "scaler": "log+standard"}, {"name": "n", "scaler": "none"}],
    "pt_column": "jet_pt",
    "eta_column": "jet_eta",
    "sets": {
        "cpf": {"size": 4, "features": [{"name": "pt", "scaler": "standard"}, {"name": "dxy"}]},
        "sv": {
            "collection": "vertices",
            "size": 2,
            "order": "mass",
            "features": [{"name": "mass", "scaler": "minmax"}],
        },
    },
}


def make_rows(num_rows: int, key: int, *, truths: int = 3, per_group: int = 3) -> EventBlock:
    """Rows of one source file, some without objects; several follow each other in one group."""
    rng = np.random.default_rng(key)

    def collection(mean: float, *names: str) -> Collection:
        counts = rng.poisson(mean, num_rows) * (rng.random(num_rows) > 0.2)
        columns = {name: rng.gamma(2.0, 3.0, counts.sum()).astype(np.float32) for name in names}
        return Collection("events", np.append(0, np.cumsum(counts)), columns)

    ids = (np.int64(key) << 24) + np.arange(num_rows)
    return EventBlock(
        events={
            "id": ids,
            "weight": rng.gamma(1.0, 1.0, num_rows),
            "group": (np.int64(key) << 24) + np.arange(num_rows) // per_group,
            "truth": rng.integers(0, truths, num_rows).astype(np.int16),
            "jet_pt": (20 + rng.exponential(60, num_rows)).astype(np.float32),
            "jet_eta": rng.uniform(-2.4, 2.4, num_rows).astype(np.float32),
            "n": rng.integers(0, 50, num_rows).astype(np.int32),
        },
        collections={"cpf": collection(4, "pt", "dxy"), "vertices": collection(1, "mass")},
    )


def write_shard(path, sample, *blocks, truths=TRUTHS, sources=()):
    with EventStoreWriter(path, sample=sample, truths=truths) as writer:
        for block in blocks:
            writer.append(block)
        writer.finalise(sources=sources)
    return path


def run(folder, shards, samples=(QCD, TOP), *, fitted=None, **changes):
    folder.mkdir()
    settings = PreprocessSettings.model_validate_json(json.dumps(SETTINGS | changes))
    preprocess(shards, folder, samples=[s for s in samples if s.name in shards], settings=settings, fitted=fitted)
    return folder


@pytest.fixture
def blocks():
    return {"qcd": [make_rows(900, 1), make_rows(500, 2)], "ttbar": [make_rows(600, 3)]}


@pytest.fixture
def shards(tmp_path, blocks):
    return {
        "qcd": [write_shard(tmp_path / f"q{i}.h5", QCD, block) for i, block in enumerate(blocks["qcd"])],
        "ttbar": [write_shard(tmp_path / "t.h5", TOP, *blocks["ttbar"])],
    }


def padded(collection: Collection, row: int, names: list[str], size: int, order: str | None) -> np.ndarray:
    """The features of one row's objects, written as a loop over its objects."""
    own = list(range(collection.offsets[row], collection.offsets[row + 1]))
    if order is not None:
        own.sort(key=lambda i: -collection.columns[order][i])
    return np.array([[collection.columns[name][i] for name in names] for i in own[:size]]).reshape(-1, len(names))


def rows_by_id(blocks) -> dict[int, tuple[EventBlock, int]]:
    return {int(i): (block, n) for block in blocks for n, i in enumerate(block.events["id"])}


@pytest.mark.parametrize("block_events", [100, 4096])
def test_sets_are_padded_as_an_independent_construction_says(tmp_path, shards, blocks, block_events):
    folder = run(tmp_path / "out", shards, block_events=block_events)
    spec, scalers = read_spec(folder), Scalers.read(folder)
    assert [(s.name, s.size, [c.name for c in s.columns]) for s in spec.sets] == [
        ("cpf", 4, ["pt", "dxy"]),
        ("sv", 2, ["mass"]),
    ]
    shift, scale = (scalers.sets["cpf"][0].stages[0].state()[name] for name in ("shift", "scale"))
    for sample, of_sample in blocks.items():
        known = rows_by_id(of_sample)
        seen = []
        for split in SPLITS:
            part = ModelInputs.open(list_inputs(folder, split)[sample])
            for row, event_id in enumerate(part.event_id.tolist()):
                block, n = known[event_id]
                objects = padded(block.collections["cpf"], n, ["pt", "dxy"], 4, None)
                expected = np.zeros((4, 2))
                expected[: len(objects)] = (objects - [shift, 0]) / [scale, 1]
                np.testing.assert_allclose(part.sets["cpf"].features[row], expected, rtol=1e-5, atol=1e-6)
                assert part.sets["cpf"].mask[row].tolist() == [i < len(objects) for i in range(4)]
                masses = padded(block.collections["vertices"], n, ["mass"], 2, "mass")[:, 0]
                back = scalers.sets["sv"][0].inverse(part.sets["sv"].features[row, : len(masses), 0])
                np.testing.assert_allclose(back, masses, rtol=1e-4)
                assert part.sets["sv"].mask[row].sum() == len(masses)
                assert not part.sets["sv"].features[row, len(masses) :].any()
                events = block.events
                assert part.pt[row] == events["jet_pt"][n]
                assert part.eta[row] == events["jet_eta"][n]
                assert part.event[row, 1] == events["n"][n]
                assert part.weight[row] == events["weight"][n]
                assert spec.truths[part.truth[row]] == TRUTHS[events["truth"][n]]
            seen += part.event_id.tolist()
            assert part.objects.shape == (len(part), 0, 0)
        assert sorted(seen) == sorted(known)


def test_rows_of_a_group_are_in_one_split_and_all_splits_have_some(tmp_path, shards, blocks):
    folder = run(tmp_path / "out", shards)
    known = rows_by_id([block for of_sample in blocks.values() for block in of_sample])
    groups = {split: set() for split in SPLITS}
    for split in SPLITS:
        for path in list_inputs(folder, split).values():
            part = ModelInputs.open(path)
            own = [int(known[i][0].events["group"][known[i][1]]) for i in part.event_id.tolist()]
            assert part.group.tolist() == own
            groups[split] |= set(own)
    assert all(len(own) > 30 for own in groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]


def test_scalers_are_those_of_the_objects_that_are_kept_of_training_rows(tmp_path, shards, blocks):
    folder = run(tmp_path / "out", shards)
    known = rows_by_id([block for of_sample in blocks.values() for block in of_sample])
    training = [i for path in list_inputs(folder, "train").values() for i in ModelInputs.open(path).event_id.tolist()]
    pt = np.concatenate([padded(known[i][0].collections["cpf"], known[i][1], ["pt"], 4, None)[:, 0] for i in training])
    mass = np.concatenate(
        [padded(known[i][0].collections["vertices"], known[i][1], ["mass"], 2, "mass")[:, 0] for i in training]
    )
    scalers = Scalers.read(folder)
    state = scalers.sets["cpf"][0].stages[0].state()
    assert (state["shift"], state["scale"]) == pytest.approx((pt.mean(), pt.std()), rel=1e-6)
    state = scalers.sets["sv"][0].stages[0].state()
    assert (state["shift"], state["scale"]) == pytest.approx((mass.min(), mass.max() - mass.min()), rel=1e-6)
    inputs = np.concatenate([ModelInputs.open(p).event[:, 0] for p in list_inputs(folder, "train").values()])
    assert (inputs.mean(), inputs.std()) == pytest.approx((0, 1), abs=1e-3)


@examples(max_examples=10, deadline=None)
@given(cut=st.integers(1, 899), size=st.integers(1, 6), sample_order=st.booleans())
def test_nothing_depends_on_shards_or_blocks(tmp_path_factory, cut, size, sample_order):
    tmp_path = tmp_path_factory.mktemp("rows")
    block = make_rows(900, 7)
    store = write_shard(tmp_path / "whole.h5", QCD, block)
    parts = [take(block, 0, cut), take(block, cut, 900)]
    cut_shards = [write_shard(tmp_path / f"{i}.h5", QCD, part) for i, part in enumerate(parts)]
    sets = {"cpf": {"size": size, "features": [{"name": "pt", "scaler": "standard"}]}}
    whole = run(tmp_path / "a", {"qcd": [store]}, sets=sets)
    pieces = run(tmp_path / "b", {"qcd": cut_shards[::-1] if sample_order else cut_shards}, sets=sets, block_events=64)
    for split in SPLITS:
        one, other = (ModelInputs.open(list_inputs(folder, split)["qcd"]) for folder in (whole, pieces))
        orders = [np.argsort(part.event_id) for part in (one, other)]
        for name, array in one.arrays().items():
            np.testing.assert_allclose(
                np.asarray(array)[orders[0]], np.asarray(other.arrays()[name])[orders[1]], rtol=1e-5, atol=1e-6
            )


def take(block: EventBlock, low: int, high: int) -> EventBlock:
    collections = {
        name: Collection(
            c.parent,
            c.offsets[low : high + 1] - c.offsets[low],
            {key: values[c.offsets[low] : c.offsets[high]] for key, values in c.columns.items()},
        )
        for name, c in block.collections.items()
    }
    return EventBlock({name: values[low:high] for name, values in block.events.items()}, collections)


def test_a_row_that_is_in_two_shards_is_an_error(tmp_path):
    block = make_rows(300, 5)
    shards = [
        write_shard(tmp_path / f"{i}.h5", QCD, take(block, low, high))
        for i, (low, high) in enumerate([(0, 160), (150, 300)])
    ]
    with pytest.raises(DataError, match="same id"):
        run(tmp_path / "out", {"qcd": shards})


def test_truths_go_by_name_and_not_by_code(tmp_path):
    blocks = [make_rows(400, 1), make_rows(400, 2)]
    shards = {
        "qcd": [write_shard(tmp_path / "a.h5", QCD, blocks[0])],
        "ttbar": [write_shard(tmp_path / "b.h5", TOP, blocks[1], truths=("light", "tau", "b"))],
    }
    folder = run(tmp_path / "out", shards)
    assert read_spec(folder).truths == ("b", "c", "light", "tau")
    part = ModelInputs.open(list_inputs(folder, "train")["ttbar"])
    names = dict(zip(blocks[1].events["id"].tolist(), blocks[1].events["truth"].tolist(), strict=True))
    expected = [("light", "tau", "b")[names[i]] for i in part.event_id.tolist()]
    assert [read_spec(folder).truths[code] for code in part.truth] == expected


def test_shards_with_and_without_truths_do_not_go_together(tmp_path):
    shards = {
        "qcd": [write_shard(tmp_path / "a.h5", QCD, make_rows(100, 1))],
        "ttbar": [write_shard(tmp_path / "b.h5", TOP, make_rows(100, 2), truths=())],
    }
    with pytest.raises(DataError, match="others do not"):
        run(tmp_path / "out", shards)


def test_rows_without_truth_reach_no_class(tmp_path):
    block = make_rows(100, 1)
    block.events["truth"][17] = -1
    with pytest.raises(DataError, match="without truth"):
        run(tmp_path / "out", {"qcd": [write_shard(tmp_path / "a.h5", QCD, block)]})


def test_a_dataset_without_truths_has_none(tmp_path):
    folder = run(tmp_path / "out", {"qcd": [write_shard(tmp_path / "a.h5", QCD, make_rows(100, 1), truths=())]})
    assert read_spec(folder).truths == ()
    assert set(ModelInputs.open(folder / "qcd" / "train.h5").truth.tolist()) == {-1}


def test_an_empty_sample_is_fine_beside_others_and_nothing_at_all_is_not(tmp_path, shards):
    empty = write_shard(tmp_path / "empty.h5", TOP)
    folder = run(tmp_path / "out", {"qcd": shards["qcd"], "ttbar": [empty]})
    assert list(list_inputs(folder, "train")) == ["qcd"]
    with pytest.raises(DataError, match="no sample has any row"):
        run(tmp_path / "none", {"ttbar": [empty]})
    with pytest.raises(DataError, match="no event is for training"):
        run(tmp_path / "test", {"qcd": shards["qcd"]}, samples=(QCD.model_copy(update={"split": "test"}),))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_features": [{"name": "jet_ptt"}]}, "event_features[\\s\\S]*nearest: jet_pt"),
        ({"pt_column": "jetpt"}, "pt_column[\\s\\S]*nearest: jet_pt"),
        ({"sets": {"cpff": {"size": 2, "features": [{"name": "pt"}]}}}, "sets.cpff.collection[\\s\\S]*nearest: cpf"),
        ({"sets": {"cpf": {"size": 2, "features": [{"name": "dxyz"}]}}}, "sets.cpf.features[\\s\\S]*nearest: dxy"),
        ({"sets": {"cpf": {"size": 2, "order": "ptt", "features": [{"name": "pt"}]}}}, "sets.cpf.order"),
        ({"reweighting": {"reference": "lite"}}, "reweighting.reference[\\s\\S]*nearest: light"),
    ],
)
def test_a_name_that_the_dataset_lacks_is_an_error_with_the_nearest(tmp_path, shards, changes, words):
    with pytest.raises(ConfigError, match=words):
        run(tmp_path / "out", shards, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": [{"name": "pt"}]}, "no objects but those of sets"),
        ({"sets": {}, "event_features": []}, "both are empty"),
        ({"sets": {"truth": {"size": 2, "features": [{"name": "pt"}]}}}, "something else"),
        ({"sets": {"cpf": {"size": 2, "features": [{"name": "pt"}, {"name": "pt"}]}}}, "twice"),
        ({"sets": {"cpf": {"size": 2, "features": []}}}, "features"),
        ({"event_features": [{"name": "truth"}]}, "shall find out"),
        ({"event_features": [{"name": "n", "scaler": "onehot"}]}, "onehot"),
        ({"level": "jet", "event_features": []}, "sets is for level row"),
        ({"level": "jet", "event_features": [], "sets": {}}, "pt_column is for level row"),
    ],
)
def test_settings_that_make_no_sense_are_an_error(changes, words):
    with pytest.raises(ValueError, match=words):
        PreprocessSettings.model_validate_json(json.dumps(SETTINGS | changes))


def test_values_too_large_for_single_precision_are_an_error(tmp_path):
    block = make_rows(100, 1)
    block.events["n"] = np.full(100, 1e300)
    with pytest.raises(DataError, match=r"single precision[\s\S]*got: n"):
        run(tmp_path / "out", {"qcd": [write_shard(tmp_path / "a.h5", QCD, block)]})


def test_the_reweighting_is_that_of_the_training_rows(tmp_path, shards, blocks):
    reweighting = {"reference": "b", "bins": {"pt": [20, 60, 120, 1000], "eta": [0, 1, 2.5]}}
    folder = run(tmp_path / "out", shards, reweighting=reweighting)
    found = read_reweighting(json.loads((folder / "reweighting.json").read_text()))
    known = rows_by_id([block for of_sample in blocks.values() for block in of_sample])
    training = [
        known[i] for path in list_inputs(folder, "train").values() for i in ModelInputs.open(path).event_id.tolist()
    ]
    truth, pt, eta = (np.array([b.events[name][n] for b, n in training]) for name in ("truth", "jet_pt", "jet_eta"))
    expected = fill_spectra([JetBlock(truth, pt, eta)], TRUTHS, found.settings)
    np.testing.assert_array_equal(found.before.sumw, expected.sumw)
    assert {path.name for path in folder.glob("reweighting.*")} == {
        "reweighting.json", "reweighting.png", "reweighting.pdf",
    }  # fmt: skip
    after = found.after.inside
    np.testing.assert_allclose(
        after / after.sum((1, 2), keepdims=True), np.broadcast_to(after[0] / after[0].sum(), after.shape)
    )


def test_a_test_dataset_is_scaled_as_the_training_was(tmp_path, shards):
    trained = run(tmp_path / "out", shards, reweighting={"reference": "b"})
    block = make_rows(200, 9, truths=1)
    other = write_shard(tmp_path / "x.h5", QCD, block, truths=("light",))
    folder = run(tmp_path / "test", {"qcd": [other]}, fitted=trained, reweighting={"reference": "light"})
    assert read_spec(folder) == read_spec(trained)
    assert (folder / "scalers.json").read_text() == (trained / "scalers.json").read_text()
    assert [list(list_inputs(folder, split)) for split in SPLITS] == [[], [], ["qcd"]]
    assert set(ModelInputs.open(folder / "qcd/test.h5").truth.tolist()) == {TRUTHS.index("light")}
    assert not (folder / "reweighting.json").exists()
    tau = write_shard(tmp_path / "y.h5", QCD, block, truths=("tau",))
    with pytest.raises(DataError, match="'tau' is none of those"):
        run(tmp_path / "tau", {"qcd": [tau]}, fitted=trained)
    with pytest.raises(ConfigError, match="sets differ"):
        run(
            tmp_path / "sets", {"qcd": [other]}, fitted=trained, sets={"cpf": {"size": 3, "features": [{"name": "pt"}]}}
        )


def test_a_file_in_both_datasets_is_an_error(tmp_path):
    def shard(name, *hashes):
        sources = [{"name": f"{name}_{h}.root", "size": 1, "xxh3_128": h} for h in hashes]
        return write_shard(tmp_path / f"{name}.h5", QCD, make_rows(10, 1), sources=sources)

    training, other, same = shard("train", "aa", "bb"), shard("other", "cc"), shard("same", "dd", "bb")
    check_no_shared_files({"qcd": [other]}, {"qcd": [training]})
    with pytest.raises(DataError, match=r"same_bb\.root \(there train_bb\.root\)"):
        check_no_shared_files({"qcd": [other, same]}, {"ttbar": [training]})


@pytest.mark.parametrize(("group", "column"), [("events", "n"), ("events", "jet_eta"), ("cpf", "dxy")])
def test_values_that_are_not_finite_are_an_error_that_names_the_column(tmp_path, group, column):
    block = make_rows(100, 1)
    columns = block.events if group == "events" else block.collections[group].columns
    columns[column] = columns[column].astype(np.float64)
    columns[column][3] = np.nan
    with pytest.raises(DataError, match=rf"'{column}' has values that are not finite[\s\S]*a\.h5"):
        run(tmp_path / "out", {"qcd": [write_shard(tmp_path / "a.h5", QCD, block)]})


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(census, "_BLOCK", 256)
    peaks = []
    for factor in (1, 8):
        blocks = [make_rows(2000, key) for key in range(1, factor + 1)]
        shard = write_shard(tmp_path / f"{factor}.h5", QCD, *blocks)
        del blocks
        tracemalloc.start()
        run(tmp_path / str(factor), {"qcd": [shard]}, block_events=256)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]  # of eight times as many rows
