"""Features that matter are found, those that do not are compatible with none, and the errors are what they say."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import models
from honeyguide.data.model_inputs import list_inputs, read_spec
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.evaluation.efficiencies import Jets, make_jets
from honeyguide.evaluation.importance import Importance, feature_importance, summary
from honeyguide.evaluation.importance_settings import ImportanceSettings
from honeyguide.evaluation.paired import area, difference, mean
from honeyguide.evaluation.permuted import groups, permuted
from honeyguide.evaluation.tagging_settings import DiscriminatorSettings, TaggingSettings
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model
from tests.planted import write_row_inputs

CONFIG = {"family": "tagger", "network": "mlp", "hidden": [40, 20], "dropout": 0.0}
SETTINGS = ImportanceSettings(rows=1500, repeats=4, device="cpu", num_threads=1)
TAGGING = TaggingSettings(
    discriminators=("BvsC",), definitions={"BvsC": DiscriminatorSettings(numerator=("b",), denominator=("b", "c"))}
)
MATTERS = {"cpf/cpf0", "npf/npf0", "cpf", "npf", "cpf/objects", "npf/objects", "sv/objects"}
# the spectrum in pt depends on the truth, too; the mlp may use the numbers of objects of a set
UNDECIDED = {"row/global0", "row"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Importance]:
    folder = tmp_path_factory.mktemp("importance")
    inputs = write_row_inputs(folder / "inputs", num_train=4000, num_test=1600)
    for name in ("training", "out"):
        (folder / name).mkdir()
    build = functools.partial(models.build, models.parse(CONFIG))
    settings = TrainingSettings(epochs=10, batch_size=100, learning_rate=3e-3, tensorboard=False, num_threads=1)
    train(inputs, folder / "training", build_model=build, settings=settings, seed=1, provenance={})
    done: list[tuple[int, int]] = []
    importance = feature_importance(
        folder / "training",
        inputs,
        folder / "out",
        build_model=build,
        settings=(SETTINGS, TAGGING),
        members={},
        progress=lambda *counts: done.append(counts),
    )
    assert done == [(number + 1, 16) for number in range(16)]
    return folder, importance


def test_planted_features_are_found_and_no_others(found: tuple[Path, Importance]) -> None:
    drops = {drop.group: drop for drop in found[1].of("macro")}
    significant = {name for name, drop in drops.items() if drop.value > 4 * drop.error}
    assert significant - UNDECIDED == MATTERS
    for name in set(drops) - MATTERS - UNDECIDED:
        assert abs(drops[name].value) < 0.01 + 4 * drops[name].error, name
    # the first features alone tell b from c; without them the discriminator knows little
    first = {drop.group: drop for drop in found[1].of("BvsC")}["cpf/cpf0"]
    area_of_b = found[1].areas["BvsC"][0]
    assert area_of_b > 0.8
    assert first.value > 0.6 * (area_of_b - 0.5)


def test_the_files_have_every_repeat_and_the_figures_are_there(found: tuple[Path, Importance]) -> None:
    out = found[0] / "out"
    content = json.loads((out / "importance.json").read_text())
    assert set(content["areas"]) == {"macro", "BvsC"}
    assert content["num_rows"] == 1500
    with h5py.File(out / "importance.h5") as file:
        for measure in content["areas"]:
            names = json.loads(file[measure].attrs["groups"])
            entries = {drop["group"]: drop for drop in content["drops"] if drop["measure"] == measure}
            drops = file[measure]["drops"][:]
            assert drops.shape == (len(names), 4) == (16, 4)
            np.testing.assert_allclose(drops.mean(1), [entries[name]["value"] for name in names])
            np.testing.assert_allclose(drops.std(1, ddof=1) / 2, [entries[n]["error_repeats"] for n in names])
    assert {path.name for path in out.glob("*.png")} == {"importance_macro.png", "importance_BvsC.png"}
    assert "cpf/objects" in summary(found[1]) or "cpf/cpf0" in summary(found[1])


def test_areas_are_those_of_sklearn(found: tuple[Path, Importance]) -> None:
    folder, importance = found
    rows = read_some_rows(list_inputs(folder / "inputs", "test"), 1500, seed=1)
    model = load_model(folder / "training", functools.partial(models.build, models.parse(CONFIG)))
    with torch.inference_mode():
        scores = model.score(as_batch(rows))
    each = [roc_auc_score(rows.truth == code, scores[f"prob_{name}"]) for code, name in enumerate(model.classes)]
    assert importance.areas["macro"][0] == pytest.approx(np.mean(each), abs=1e-6)


def test_a_permutation_keeps_the_distribution_and_the_mask(tmp_path: Path) -> None:
    inputs = write_row_inputs(tmp_path / "inputs", num_train=10, num_test=200)
    batch = as_batch(read_some_rows(list_inputs(inputs, "test"), 200))
    for group in groups(read_spec(inputs)):
        changed = permuted(batch, group, torch.Generator().manual_seed(1)).tensors()
        before = batch.tensors()
        moved = {name for name in before if not torch.equal(before[name], changed[name])}
        if group.of == "row":
            assert moved == {"event"}
        else:
            assert moved == {f"{group.of}/{part}" for part in ("features", "mask")[: 1 + (group.kind == "objects")]}
        for name in moved:
            assert torch.equal(before[name].flatten().sort().values, changed[name].flatten().sort().values)
        if group.kind == "feature":
            (name,) = moved
            others = [place for place in range(before[name].shape[-1]) if place not in group.columns]
            assert torch.equal(before[name][..., others], changed[name][..., others])


def planted(seed: int) -> tuple[Jets, np.ndarray, np.ndarray]:
    """Jets and two scores of them that have much in common; the second is the better one."""
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], 300)
    common, own = rng.normal(size=600), rng.normal(size=(2, 600))
    jets = make_jets(truth, ("s", "b"), truth, truth, rng.uniform(0.5, 1.5, 600))
    shift = 1.0 * (truth == 0)
    return jets, common + 0.5 * own[0] + 0.8 * shift, common + 0.5 * own[1] + shift


def test_the_error_of_a_difference_is_its_spread_over_samples() -> None:
    found = []
    for seed in range(300):
        jets, *scores = planted(seed)
        areas = [area(s, jets, signal=jets.truth == 0, background=jets.truth == 1) for s in scores]
        found.append((difference(*areas), np.hypot(*(a.error for a in areas)), areas))
    values = np.array([one.value for one, _, _ in found])
    errors = np.array([one.error for one, _, _ in found])
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.15)
    assert errors.mean() < 0.6 * np.mean([apart for _, apart, _ in found])  # the jets are the same
    pulls = (values - values.mean()) / errors
    assert abs(np.mean(np.abs(pulls) < 1) - 0.683) < 0.09
    first = found[0][0]
    assert first.p_value == pytest.approx(2 * norm.sf(abs(first.value) / first.error))
    same = found[0][2][0]
    assert (difference(same, same).value, difference(same, same).p_value) == (0, 1)
    assert mean([same, same]).error == pytest.approx(same.error)
