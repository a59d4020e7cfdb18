"""Particles of rows: four-momenta as they are stored, computed features, targets with an inverse, observers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.preprocess.chain import Scalers
from honeyguide.preprocess.pipeline import preprocess
from honeyguide.preprocess.settings import PreprocessSettings

JETS = SampleInfo(name="jets", process="jets", generator="toy", label="background")
MOMENTA = ("px", "py", "pz", "energy")
FLAGS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
DISPLACED = ("d0val", "d0err", "dzval", "dzerr")
SIZE = 5
SETTINGS = {
    "level": "row",
    "pt_column": "jet_pt",
    "eta_column": "jet_eta",
    "phi_column": "jet_phi",
    "energy_column": "jet_energy",
    "sets": {
        "particles": {
            "size": SIZE,
            "vectors": list(MOMENTA),
            "particle_features": "full",
            "features": [{"name": "puppi", "scaler": "standard"}],
        }
    },
    "targets": [{"name": "mass", "scaler": "log+standard"}, {"name": "charge"}],
    "observers": ["mass", "tau"],
}


def jets(num_rows: int = 300, seed: int = 1) -> EventBlock:
    """Rows of 0 to 8 particles."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, num_rows)
    num = int(counts.sum())
    three = rng.normal(size=(num, 3)) * 10
    columns = dict(zip(MOMENTA, np.column_stack([three, np.linalg.norm(three, axis=1) + 0.1]).T, strict=True))
    columns |= {name: rng.normal(size=num) * 3 for name in (*DISPLACED, "puppi")}
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    columns |= {name: rng.integers(-1, 2, num).astype(np.int8) for name in FLAGS}
    events = {"jet_pt": rng.uniform(20, 90, num_rows), "jet_eta": rng.normal(size=num_rows)}
    events |= {"jet_phi": rng.uniform(-np.pi, np.pi, num_rows), "jet_energy": rng.uniform(90, 200, num_rows)}
    events |= {"mass": rng.exponential(50, num_rows), "tau": rng.random(num_rows)}
    return EventBlock(
        {
            "id": (np.int64(seed) << 24) + np.arange(num_rows),
            "weight": np.ones(num_rows),
            **{name: values.astype(np.float32) for name, values in events.items()},
            "charge": rng.integers(-3, 4, num_rows).astype(np.int32),
        },
        {"particles": Collection("events", np.append(0, np.cumsum(counts)), columns)},
    )


def write(path, block: EventBlock):
    with EventStoreWriter(path, sample=JETS) as writer:
        writer.append(block)
        writer.finalise()
    return {"jets": [path]}


def run(folder, shards, *, fitted=None, **changes):
    folder.mkdir()
    settings = PreprocessSettings.model_validate_json(json.dumps(SETTINGS | changes))
    preprocess(shards, folder, samples=[JETS], settings=settings, fitted=fitted)
    return folder


def inputs_by_id(folder) -> dict[int, tuple[ModelInputs, int]]:
    found = {}
    for split in ("train", "validation", "test"):
        for path in list_inputs(folder, split).values():
            part = ModelInputs.open(path)
            found |= {int(event_id): (part, row) for row, event_id in enumerate(part.event_id)}
    return found


def literal(block: EventBlock, row: int, names: list[str]) -> np.ndarray:
    """The features that weaver would compute of a row's particles, one by one."""
    own, jet = block.collections["particles"], {name: float(block.events[f"jet_{name}"][row]) for name in AXES}
    rows = []
    for i in range(own.offsets[row], own.offsets[row + 1])[:SIZE]:
        at = {name: float(values[i]) for name, values in own.columns.items()}
        pt = np.hypot(at["px"], at["py"])
        deta = (np.arcsinh(at["pz"] / pt) - jet["eta"]) * (1 if jet["eta"] >= 0 else -1)
        dphi = np.angle(np.exp(1j * (np.arctan2(at["py"], at["px"]) - jet["phi"])))
        values = {
            "pt_log": (np.log(pt) - 1.7) * 0.7,
            "e_log": (np.log(at["energy"]) - 2.0) * 0.7,
            "logptrel": (np.log(pt / jet["pt"]) + 4.7) * 0.7,
            "logerel": (np.log(at["energy"] / jet["energy"]) + 4.7) * 0.7,
            "deltaR": (np.hypot(deta, dphi) - 0.2) * 4,
        }
        values = {name: np.clip(value, -5, 5) for name, value in values.items()}
        values |= {name: at[name] for name in FLAGS}
        values |= {"d0": np.tanh(at["d0val"]), "dz": np.tanh(at["dzval"]), "deta": deta, "dphi": dphi}
        values |= {name: np.clip(at[name], 0, 1) for name in ("d0err", "dzerr")}
        rows.append([values[name] for name in names])
    return np.array(rows).reshape(-1, len(names))


AXES = ("pt", "eta", "phi", "energy")


@pytest.fixture
def block() -> EventBlock:
    return jets()


def test_features_four_momenta_targets_and_observers_of_every_row(tmp_path, block):
    folder = run(tmp_path / "out", write(tmp_path / "a.h5", block), block_events=70)
    spec, scalers, found = read_spec(folder), Scalers.read(folder), inputs_by_id(folder)
    (item,) = spec.sets
    names = [column.name for column in item.columns]
    assert (item.vectors, len(names), names[:2], names[-2:]) == (True, 18, ["pt_log", "e_log"], ["dphi", "puppi"])
    assert [column.name for column in spec.targets] == ["mass", "charge"]
    assert spec.observers == ("mass", "tau")
    assert len(found) == len(block)
    own = block.collections["particles"]
    for row, event_id in enumerate(block.events["id"].tolist()):
        part, at = found[event_id]
        expected = literal(block, row, names[:-1])
        kept = slice(own.offsets[row], own.offsets[row] + len(expected))
        particles = part.sets["particles"]
        np.testing.assert_allclose(particles.features[at, : len(expected), :-1], expected, rtol=2e-5, atol=2e-5)
        momenta = np.column_stack([own.columns[name][kept] for name in MOMENTA])
        np.testing.assert_array_equal(particles.vectors[at, : len(expected)], momenta)
        assert not particles.vectors[at, len(expected) :].any()
        assert particles.mask[at].sum() == len(expected)
        assert part.observers[at].tolist() == [block.events["mass"][row], block.events["tau"][row]]
        mass, charge = (chain.inverse(part.targets[at, [i]])[0] for i, chain in enumerate(scalers.targets))
        assert mass == pytest.approx(block.events["mass"][row], rel=1e-4)
        assert charge == block.events["charge"][row]
    in_training = ModelInputs.open(list_inputs(folder, "train")["jets"]).targets[:, 0]
    assert in_training.mean() == pytest.approx(0, abs=1e-4)
    assert in_training.std() == pytest.approx(1, abs=1e-4)


def test_a_test_dataset_is_scaled_as_the_training_was_and_only_with_its_settings(tmp_path, block):
    training = run(tmp_path / "training", write(tmp_path / "a.h5", block))
    shards = write(tmp_path / "b.h5", jets(50, seed=2))
    test = run(tmp_path / "test", shards, fitted=training)
    assert (test / "scalers.json").read_text() == (training / "scalers.json").read_text()
    assert ModelInputs.open(list_inputs(test, "test")["jets"]).targets.shape == (50, 2)
    particles = SETTINGS["sets"]["particles"]
    scaled = {"name": "puppi", "scaler": "affine", "scale": 2.0}
    other = [{"targets": SETTINGS["targets"][:1]}, {"observers": ["tau"]}]
    other += [{"sets": {"particles": particles | {"particle_features": "kin"}}}]
    for number, changes in enumerate(other):
        with pytest.raises(ConfigError, match="made by other settings"):
            run(tmp_path / f"other{number}", shards, fitted=training, **changes)
    affine = {"sets": {"particles": particles | {"features": [scaled]}}}
    again = run(tmp_path / "affine", write(tmp_path / "a.h5", block), **affine)
    affine["sets"]["particles"]["features"] = [scaled | {"scale": 3.0}]
    with pytest.raises(ConfigError, match="scalers differ"):
        run(tmp_path / "affine3", shards, fitted=again, **affine)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"energy_column": "jet_energie"}, "energy_column(.|\n)*nearest: jet_energy"),
        ({"observers": ["mas"]}, "preprocess.observers(.|\n)*nearest: mass"),
        ({"targets": [{"name": "charg"}]}, "preprocess.targets(.|\n)*nearest: charge"),
        ({"vectors": ["px", "py", "pz", "energ"]}, "particles.vectors(.|\n)*nearest: energy"),
    ],
)
def test_names_that_the_dataset_lacks_are_errors_with_the_nearest(tmp_path, block, changes, words):
    if "vectors" in changes:
        changes = {"sets": {"particles": SETTINGS["sets"]["particles"] | changes}}
    with pytest.raises(ConfigError, match=words):
        run(tmp_path / "out", write(tmp_path / "a.h5", block), **changes)


def test_a_column_that_computed_features_need_is_named(tmp_path, block):
    del block.collections["particles"].columns["isPhoton"]
    with pytest.raises(ConfigError, match=r"no column 'isPhoton'(.|\n)*particles.particle_features"):
        run(tmp_path / "out", write(tmp_path / "a.h5", block))


def test_four_momenta_beyond_single_precision_are_an_error(tmp_path, block):
    columns = block.collections["particles"].columns
    columns["px"] = columns["px"].astype(np.float64) + 1e300
    with pytest.raises(DataError, match="'px' has values that are not finite"):
        run(tmp_path / "out", write(tmp_path / "a.h5", block))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sets": {"p": {"size": 3}}}, "features, or particle_features"),
        ({"sets": {"p": {"size": 3, "particle_features": "kin"}}}, "computed from vectors"),
        ({"targets": [{"name": "truth"}]}, "'truth' is kept with every row"),
        ({"observers": ["mass", "mass"]}, "given twice"),
        ({"targets": [{"name": "phi", "scaler": "sincos"}]}, "a target is one value"),
        ({"event_features": [{"name": "mass"}]}, "told the answer"),
        ({"targets": [{"name": "m", "scaler": "affine"}]}, "with center, scale or clip"),
        ({"targets": [{"name": "m", "scaler": "log", "center": 1.0}]}, "for the scaler affine"),
        ({"targets": [{"name": "m", "scaler": "affine", "clip": [1.0, 1.0]}]}, "makes everything the same"),
        ({"level": "event", "sets": {}, "targets": [], "features": []}, "for level row"),
    ],
)
def test_settings_that_make_no_sense_are_errors(changes, words):
    with pytest.raises(ValueError, match=words):
        PreprocessSettings.model_validate_json(json.dumps(SETTINGS | changes))


def test_a_column_with_the_name_of_a_computed_feature_is_an_error():
    particles = SETTINGS["sets"]["particles"] | {"features": [{"name": "dphi"}]}
    with pytest.raises(ValueError, match="'dphi' is given twice"):
        PreprocessSettings.model_validate_json(json.dumps(SETTINGS | {"sets": {"particles": particles}}))
