"""Configs of b-hive become a dataset and an experiment that load."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.from_b_hive import main, translate
from configs.load import load_experiment
from honeyguide.data.truth_settings import TruthSettings
from honeyguide.errors import ConfigError

# the fields of b-hive, with a few of the branches that its configs have
OLD = """
bins_pt: [15, 40, 100, 1000]
bins_eta: [-2.5, 0.0, 2.5]
processes: ["TT", "QCD"]
TT: {pt_min: 30, pt_max: 1000, eta_min: -2.5, eta_max: 2.5}
process_weights: {TT: 1.0}
treename: "DeepJetNTupler/DeepJetvars"
processor: "PFCandidateAndVertexProcessing"
global_features: ["jet_pt", "jet_eta", "jet_genmatch_pt"]
global_custom_features:
- log_pt: "np.log(jet_pt)"
cpf_candidates: ["jet_pfcand_deta", "jet_pfcand_dxysig"]
npf_candidates: ["jet_npfcand_deta"]
vtx_features: ["jet_sv_mass"]
lt_candidates: ["LT_dz"]
n_cpf_candidates: 50
n_npf_candidates: 0
n_vtx_candidates: 5
n_lt_candidates: 3
truths:
  label_b:
    - jet_hflav:
      - 5
    - jet_genmatch_pt:
      - {">": 0}
  label_c: [{jet_hflav: [4]}]
  label_ud: [{jet_hflav: [0]}, {jet_pflav: [-2, -1, 1, 2]}]
  label_g: [{jet_pflav: [21]}]
  label_taup: [{jet_tauflav: [1]}]
reference_flavour: "label_b"
"""


def old(**changes: object) -> dict[str, object]:
    return {**yaml.safe_load(OLD), **changes}


def test_command_writes_an_experiment_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hlt.yml").write_text(OLD)
    assert main(["hlt.yml", "mine"]) == 0
    told = capsys.readouterr().out
    assert "process_weights" in told
    assert "processor" in told
    settings = load_experiment(str(tmp_path / "mine.yaml")).settings
    reader = settings.dataset.reader.root
    assert reader is not None
    assert reader.tree == "DeepJetNTupler/DeepJetvars"
    assert reader.columns["log_pt"] == "log(jet_pt)"
    assert set(reader.collections) == {"cpf", "vtx", "lt"}  # none of npf is kept
    assert reader.truths == TruthSettings.model_validate_json(
        '{"definitions": {"label_b": [{"jet_hflav": [5]}, {"jet_genmatch_pt": [{">": 0}]}],'
        '"label_c": [{"jet_hflav": [4]}], "label_ud": [{"jet_hflav": [0]}, {"jet_pflav": [-2, -1, 1, 2]}],'
        '"label_g": [{"jet_pflav": [21]}], "label_taup": [{"jet_tauflav": [1]}]}}'
    )
    assert {name: item.size for name, item in settings.preprocess.sets.items()} == {"cpf": 50, "vtx": 5, "lt": 3}
    inputs = [feature.name for feature in settings.preprocess.event_features]
    assert inputs == ["jet_pt", "jet_eta", "log_pt"]  # the matched generated jet is truth
    assert settings.preprocess.reweighting.reference == "label_b"
    assert settings.preprocess.reweighting.bins.eta == (-2.5, 0, 2.5)
    classes = {"b": ("label_b",), "c": ("label_c",), "uds": ("label_ud",), "g": ("label_g",)}
    assert settings.model.classes == {**classes, "label_taup": ("label_taup",)}
    assert settings.tagging.windows["TT"].process == "TT"
    assert main(["hlt.yml", "mine"]) == 1  # nothing is written over


def test_first_process_in_the_path_takes_a_file() -> None:
    from honeyguide.io.root_sources import assign_samples

    dataset, _, _ = translate(old(processes=["TT", "TTto4Q", "QCD"]), "x")
    matches = {name: sample["match"] for name, sample in dataset["samples"].items()}
    files = ["root://host//store/TTto4Q/1.root", "root://host//QCD/2.root"]
    assert assign_samples(files, {name: matches[name] for name in ("TT", "QCD")}) == dict(
        zip(files, ("TT", "QCD"), strict=True)
    )


def test_list_of_truths_and_one_process_for_all_files() -> None:
    dataset, experiment, _ = translate(old(truths=["isB", "isC", "isUD"], processes=["default"]), "x")
    assert dataset["reader"]["root"]["truths"] == {"definitions": ["isB", "isC", "isUD"]}
    assert dataset["samples"] == {"default": {"process": "default", "generator": "unknown", "match": ["*"]}}
    assert experiment["model"]["classes"] == {"b": ["isB"], "c": ["isC"], "uds": ["isUD"]}
    assert experiment["tagging"]["discriminators"] == []  # there is no gluon class for the ready ones


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trename": "x"}, "trename"),
        ({"global_custom_features": [{"x": "__import__('os').system('true')"}]}, "global_custom_features: x"),
        ({"truths": {"label_b": ["jet_hflav == 5"]}}, "truths: label_b(.|\n)*jet_hflav == 5"),
        ({"truths": "isB"}, "truths(.|\n)*isB"),
        ({"processes": {"TT": ["*TT*"]}}, "processes(.|\n)*TT"),
        ({"global_features": "jet_pt"}, "global_features"),
        ({"cpf_custom_features": ["x"]}, "cpf_custom_features"),
    ],
)
def test_what_is_not_understood_is_an_error(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        translate(old(**changes), "x")
    with pytest.raises(ConfigError, match="treename"):
        translate({key: value for key, value in old().items() if key != "treename"}, "x")


def test_file_without_content_is_an_error() -> None:
    with pytest.raises(ConfigError, match="NoneType"):
        translate(None, "x")  # type: ignore[arg-type]
