"""weaver's data configs become datasets and experiments that say the same; whatever does not is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs.from_weaver import main, translate
from configs.load import Experiment, load_experiment
from configs.weaver_expressions import UntranslatableError, Variables
from honeyguide.data.expressions import parse_expression
from honeyguide.errors import ConfigError
from honeyguide.preprocess.chain import Chain
from tests.weaver_configs import LABELS, NEW, SCALED, full, inputs, kin


def loaded(old: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Returns the experiment that the command writes of a config."""
    monkeypatch.chdir(folder)
    Path("weaver.yaml").write_text(yaml.safe_dump(old))
    assert main(["weaver.yaml", "mine"]) == 0
    load_experiment.cache_clear()
    return load_experiment(str(folder / "mine.yaml"))


def test_the_layout_of_jetclass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = "(jet_pt > 500) & (np.abs(jet_eta) < 2)"
    settings = loaded(full(treename="tree", selection=selection), tmp_path, monkeypatch).settings
    root = settings.dataset.reader.root
    assert root.tree == "tree"
    cut = parse_expression(root.cuts["selection"], where="")
    passed = cut.evaluate({"jet_pt": np.array([400.0, 600, 600]), "jet_eta": np.array([0.0, -1, -3])})
    assert passed.tolist() == [False, True, False]
    assert root.columns["jet_sdmass"] == "jet_sdmass"
    assert settings.preprocess.observers[-1] == "jet_sdmass"
    assert (settings.preprocess.pt_column, settings.preprocess.eta_column) == ("jet_pt", "jet_eta")
    assert root.truths.definitions == {name: ({name: {"!=": 0}},) for name in LABELS}
    (item,) = settings.preprocess.sets.values()
    assert (item.size, item.vectors) == (128, ("part_px", "part_py", "part_pz", "part_energy"))
    assert [feature.name for feature in item.features][:5] == [name for name, *_ in SCALED]
    assert [feature.name for feature in item.features][-2:] == ["part_deta", "part_dphi"]
    by_name = {feature.name: feature for feature in item.features}
    assert by_name["part_logptrel"].affine == (-4.7, 0.7, (-5.0, 5.0))
    assert by_name["part_d0err"].affine == (0.0, 1.0, (0.0, 1.0))
    assert by_name["part_charge"].scaler == by_name["part_d0"].scaler == "none"
    assert settings.model.network == "particle_transformer"
    assert settings.model.embedding is None
    assert settings.model.coordinates == ("part_deta", "part_dphi")
    assert list(settings.model.classes) == LABELS


def test_the_layout_of_top_tagging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    settings = loaded(kin(), tmp_path, monkeypatch).settings
    assert settings.dataset.reader.root.truths.definitions == {
        "jet_isTop": ({"label": {"!=": 0}},),
        "jet_isQCD": ({"label": 0},),
    }
    assert settings.preprocess.observers == ("jet_pt", "jet_eta", "n_parts")
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["written", "inputs", "treename", "model"]
    Path("mine_data.yaml").unlink()
    assert main(["weaver.yaml", "mine"]) == 1  # nothing is written over
    assert not Path("mine_data.yaml").exists()  # nor half of it


def test_columns_are_what_weaver_computes() -> None:
    dataset, _, _ = translate(full(), "mine")
    texts = dataset["reader"]["root"]["collections"]["pf"]["columns"]
    rng = np.random.default_rng(3)
    names = ("part_px", "part_py", "part_energy", "part_deta", "part_dphi", "part_d0val", "jet_pt", "jet_energy")
    branches = {name: rng.exponential(30, 50) for name in names}
    pt = np.hypot(branches["part_px"], branches["part_py"])
    expected = {
        "part_pt_log": np.log(pt),
        "part_logptrel": np.log(pt / branches["jet_pt"]),
        "part_logerel": np.log(branches["part_energy"] / branches["jet_energy"]),
        "part_deltaR": np.hypot(branches["part_deta"], branches["part_dphi"]),
        "part_d0": np.tanh(branches["part_d0val"]),
    }
    for name, values in expected.items():
        found = parse_expression(texts[name], where=name).evaluate(branches)
        np.testing.assert_allclose(found, values, rtol=1e-12)
    assert texts["part_charge"] == "part_charge"


@pytest.mark.parametrize(
    ("variable", "method", "scaled"),
    [
        ("x", "manual", lambda x: x),
        (["x", None], "auto", lambda x: x),
        (["x", 2, 3], "manual", lambda x: np.clip((x - 2) * 3, -5, 5)),
        (["x", 2, 3, -1, 9], "auto", lambda x: np.clip((x - 2) * 3, -1, 9)),
        ("x", "auto", None),
        (["x", "auto"], "manual", None),
    ],
)
def test_standardisation_is_weavers(variable: Any, method: str, scaled: Any) -> None:
    config = kin(inputs={"pf_features": {"length": 9, "vars": [variable]}}, preprocess={"method": method})
    _, experiment, _ = translate(config, "mine")
    (setting,) = experiment["preprocess"]["sets"]["pf"]["features"]
    stages = [] if setting["scaler"] == "none" else setting["scaler"].split("+")
    affine = (setting.get("center", 0.0), setting.get("scale", 1.0), setting.get("clip"))
    values = np.random.default_rng(1).exponential(4, 2000)
    found = Chain("x", stages, affine=affine).fit(values).transform(values)
    if scaled is None:
        low, median, high = np.percentile(values, [16, 50, 84])
        np.testing.assert_allclose(found, np.clip((values - median) / max(high - median, median - low), -5, 5))
    else:
        np.testing.assert_allclose(found, scaled(values))


def test_parameters_that_weaver_has_found_are_taken_over() -> None:
    params = {"x": {"length": 9, "pad_mode": "wrap", "center": 1.5, "scale": 0.5, "min": -4, "max": 4, "pad_value": 0}}
    config = kin(inputs={"pf_features": {"length": 9, "vars": ["x"]}}, preprocess={"method": "auto", "params": params})
    _, experiment, _ = translate(config, "mine")
    expected = {"name": "x", "scaler": "affine", "center": 1.5, "scale": 0.5, "clip": [-4.0, 4.0]}
    assert experiment["preprocess"]["sets"]["pf"]["features"] == [expected]


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("b", [{"b": {"!=": 0}}]),
        ("1-b", [{"b": 0}]),
        ("new", [{"b": 5}]),
        ("(a == 1) & (new)", [{"a": 1}, {"b": 5}]),
        ("np.logical_and(a > 2, 3 >= b)", [{"a": {">": 2}}, {"b": {"<=": 3}}]),
        ("(b == 1) | (b == 2)", [{"b": [1, 2]}]),
        ("np.abs(b) == 4", [{"b": [4, -4]}]),
        ("(a==1)*(b==-2)", [{"a": 1}, {"b": -2}]),
    ],
)
def test_labels_are_conditions_on_branches(text: str, conditions: Any) -> None:
    assert Variables({"new": "b == 5", "b": "b"}, {}).truth(text) == conditions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("np.abs(x)**2 / (y + 1)", lambda x, y: np.abs(x) ** 2 / (y + 1)),
        ("np.maximum(x, 0) - np.minimum(y, math.pi)", lambda x, y: np.maximum(x, 0) - np.minimum(y, np.pi)),
        ("np.where((x > 0) & (y < 1), np.square(x), -y)", lambda x, y: np.where((x > 0) & (y < 1), x**2, -y)),
        ("np.arcsinh(x) + np.clip(y, -0.5, 0.5)", lambda x, y: np.arcsinh(x) + np.clip(y, -0.5, 0.5)),
        ("x // 0.3 + np.power(y, 2) % 3", lambda x, y: x // 0.3 + y**2 % 3),
        ("(x == y) + (np.abs(x) == 2)*0.5", lambda x, y: (x == y) + (np.abs(x) == 2) * 0.5),
        ("twice - -x", lambda x, y: 2 * y + x),
    ],
)
def test_expressions_have_the_values_of_numpy(text: str, expected: Any) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 100)) * 2
    written = Variables({"twice": "2*y"}, {}).expression(text)
    np.testing.assert_allclose(parse_expression(written, where="").evaluate({"x": x, "y": y}), expected(x, y))


@pytest.mark.parametrize(
    "text",
    [
        *("x[0]", "lambda: x", "_p4_from_pxpypze(x, x, x, x).eta", "np.sort(x)", "ak.sum(x, axis=0)"),
        *("a", "1 < x < 2", "x +"),
    ],
)
def test_what_has_no_counterpart_is_refused(text: str) -> None:
    with pytest.raises(UntranslatableError):
        Variables({"a": "b", "b": "a + 1"}, {}).expression(text)


@pytest.mark.parametrize(
    ("changes", "preset"),
    [
        ({}, "ParticleTransformer"),
        ({"pf_vectors": {"length": 128, "vars": ["a"]}}, "ParticleNet"),
        (
            {"pf_vectors": {"length": 128, "vars": ["a"]}, "pf_points": {"length": 128, "vars": ["np.sort(x)"]}},
            "DeepJet",
        ),
    ],
)
def test_the_network_is_one_that_can_read_the_inputs(changes: dict[str, Any], preset: str) -> None:
    _, experiment, _ = translate(kin(inputs=inputs(SCALED, **changes)), "mine")
    assert experiment["model"]["preset"] == preset
    _, experiment, _ = translate(kin(inputs={"jet": {"length": 1, "vars": ["jet_pt"]}}), "mine")
    assert experiment["model"]["preset"] == "MLP"


WEIGHTS = {
    "use_precomputed_weights": False,
    "reweight_method": "flat",
    "reweight_vars": {"jet_pt": [500, 700, 1000], "jet_eta": [-2, 0, 2]},
    "reweight_classes": LABELS,
    "class_weights": [1] * 9 + [2],
    "reweight_threshold": 15,
}


def test_spectra_are_reweighted_to_that_of_the_first_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = loaded(full(weights=WEIGHTS | {"reweight_method": "ref"}), tmp_path, monkeypatch)
    reweighting = experiment.settings.preprocess.reweighting
    assert (reweighting.reference, reweighting.normalise, reweighting.outside) == ("label_QCD", "reference", "drop")
    assert (reweighting.bins.pt, reweighting.bins.eta) == ((500, 700, 1000), (-2, 0, 2))
    assert not reweighting.bins.absolute_eta
    _, kept, _ = translate(full(weights=WEIGHTS | {"reweight_discard_under_overflow": False}), "x")
    assert kept["preprocess"]["reweighting"]["outside"] == "clip"


def test_other_weights_and_labels_become_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"use_precomputed_weights": True, "weight_branches": ["w", "1/xsec"]}
    labels = {"type": "custom", "value": {"mass": "np.log(jet_genmass)"}}
    row = {"length": 1, "vars": [["jet_pt", 500, 0.01]]}
    config = full(weights=weights, labels=labels, inputs=inputs(SCALED, row=row))
    dataset, experiment, notes = translate(config, "mine")
    columns = dataset["reader"]["root"]["columns"]
    weight = parse_expression(columns["weight"], where="").evaluate({"w": np.array([3.0]), "xsec": np.array([4.0])})
    assert weight.tolist() == [0.75]
    assert experiment["training"] == {"event_weights": "physics"}
    assert columns["mass"] == "log(jet_genmass)"
    assert experiment["preprocess"]["targets"] == [{"name": "mass", "scaler": "none"}]
    assert (experiment["model"]["classify"], experiment["model"]["regression"]) == (False, {"mass": {}})
    assert experiment["preprocess"]["event_features"][0]["name"] == "jet_pt"
    assert any(note.startswith("labels: mass") for note in notes)


SAID = {
    "treename": ({"treename": None}, "treename"),
    "file": ({"file_magic": {"is_top": {"top_": 1}}}, "file_magic: is_top"),
    "branch": ({"branch_magic": {"fj": {"ak8": "jet"}}}, "branch_magic: fj"),
    "selection": ({"selection": "ak.sort(jet_pt) > 1"}, "selection: there is no function 'sort'"),
    "test": ({"test_time_selection": "jet_pt > 600"}, "test_time_selection(.|\n)*jet_pt > 600"),
    "monitor": ({"observers": None, "monitor_variables": ["jet_pt"]}, "monitor_variables"),
    "bucketing": ({"bucketing": {"var": "n", "bins": [1, 2]}}, "bucketing"),
    "auto": ({"preprocess": {"method": "auto"}}, "method: auto"),
    "variable": ({"new_variables": NEW | {"part_d0": "ak.sort(part_d0val)"}}, "pf_features: part_d0: there is no"),
    "magic in labels": (
        {"file_magic": {"is_top": {"top_": 1}}, "labels": {"type": "simple", "value": ["is_top", *LABELS]}},
        "labels: is_top: 'is_top' is no branch",
    ),
    "label": ({"labels": {"type": "simple", "value": [*LABELS, "a + b"]}}, "labels: a \\+ b: 'or'"),
    "padding": ({"inputs": inputs([["part_e_log", 0, 1, -5, 5, -1]])}, "part_e_log: pad_value -1"),
    "wrap": ({}, "pad_mode: wrap"),
    "mask": ({"new_variables": NEW | {"part_mask": "part_energy > 1"}}, "pf_mask: part_mask(.|\n)*part_energy > 1"),
    "points": ({"inputs": inputs([], pf_points={"length": 128, "vars": ["eta", "phi"]})}, "pf_points: eta"),
    "lengths": ({"inputs": inputs([], pf_points={"length": 9, "vars": ["part_deta"]})}, "different lengths"),
    "vectors": ({"inputs": inputs([], pf_vectors={"length": 128, "vars": ["a"]})}, "pf_vectors"),
    "no features": ({"inputs": {"sv_vectors": {"length": 4, "vars": ["a", "b", "c", "d"]}}}, "a set needs features"),
    "row points": ({"inputs": inputs([], ev_points={"length": 1, "vars": ["a"]})}, "ev_points"),
    "axes": ({"observers": [], "new_variables": {}}, "preprocess.pt_column"),
    "reserved": ({"observers": ["jet_pt", "label"]}, "observers: label"),
    "flat": ({"weights": WEIGHTS}, "reweight_method: flat"),
    "class weights": ({"weights": WEIGHTS}, "class_weights"),
    "threshold": ({"weights": WEIGHTS}, "reweight_threshold"),
    "classes": ({"weights": WEIGHTS | {"reweight_classes": LABELS[:2]}}, "weaver drops them"),
    "mass": ({"weights": WEIGHTS | {"reweight_vars": {"jet_pt": [1, 2], "jet_sdmass": [1, 2]}}}, "jet_sdmass"),
    "base": ({"weights": WEIGHTS | {"reweight_basewgt": "genweight"}}, "reweight_basewgt"),
    "network": ({}, "model: the network"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_not_taken_over_is_said(case: str) -> None:
    changes, words = SAID[case]
    dataset, experiment, notes = translate(full(**changes), "mine")
    assert dataset["samples"]
    assert experiment["model"]
    assert re.search(words, "\n".join(notes)), notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": {}}, "not known(.|\n)*nearest: inputs"),
        ({"inputs": None}, "no inputs"),
        ({"inputs": {"pf_features": ["x"]}}, "inputs: pf_features"),
        ({"labels": {"type": "simple", "value": {"a": "b"}}}, "a list for type simple"),
        ({"new_variables": ["x"]}, "new_variables(.|\n)*mapping|mapping(.|\n)*new_variables"),
        ({"observers": "jet_pt"}, "list(.|\n)*observers"),
    ],
)
def test_a_file_of_another_kind_is_an_error(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        translate(full(**changes), "mine")
    with pytest.raises(ConfigError, match="NoneType"):
        translate(None, "mine")
