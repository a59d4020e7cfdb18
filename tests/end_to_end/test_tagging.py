"""b-hive's tutorial as it stands, on simulated jets, and what must not go wrong in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tests.law_command import Law

DATASET = """
extends: quickstart_tagging
events_per_chunk: 150
samples:
  bbbar: {generate: {events: 300}}
  ccbar: {generate: {events: 300}}
  qcd: {generate: {events: 450}}
"""
EXPERIMENT = """
extends: quickstart_tagging
dataset: jets_data.yaml
training: {epochs: 6, batch_size: 128, tensorboard: false}
"""
TRAINED = ("--training-version", "T", "--dataset-version", "tutorial_01", "--config", "hlt_run3")
MODEL = ("--model-name", "DeepJetHLT", "--epochs", "1")
# the published sizes, and all figures, are more than a test needs
FEW = "tagging.discriminators=[BvsL],tagging.by_process=false,tagging.plane_points={}"
SMALL = ("--set", f"model.hidden=[20],training.batch_size=128,training.tensorboard=false,{FEW}")


@pytest.fixture(scope="session")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Law:
    """A store with simulated jets, seven files (and the workflow is a task, too)."""
    law = Law(tmp_path_factory.mktemp("jets"))
    (law.folder / "jets_data.yaml").write_text(DATASET)
    (law.folder / "jets.yaml").write_text(EXPERIMENT)
    outcome = law("tasks.generate.GenerateEventsTask", "--config", "jets.yaml", "--workers", "2")
    assert outcome.ran == {"GenerateEventsTask": 8}, outcome.text
    return law


@pytest.fixture
def tutorial(jets: Law, tmp_path: Path) -> Law:
    """An empty store, and the jets as files of processes, in two filelists."""
    law = Law(tmp_path)
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for folder in sorted((jets.store / "GenerateEventsTask").glob("*/*/*")):
        sample, index, _ = folder.name.split("-")
        file = tmp_path / f"{'QCD' if sample == 'qcd' else 'TT'}_{sample}_{index}.root"
        shutil.copy(folder / "jets.root", file)
        lists["test" if index == "0" else "train"].append(file.name)
    for name, files in lists.items():
        (tmp_path / f"{name}.txt").write_text("# files\n" + "\n".join(files) + "\n")
    return law


def output(law: Law, task: str) -> Path:
    (folder,) = {path.parent for path in (law.store / task).glob("*/*/*/manifest.json")}
    return folder


def succeeded(law: Law, *arguments: str, fresh: bool = False) -> dict[str, int]:
    outcome = law(*arguments, fresh=fresh)
    assert outcome.returncode == 0, outcome.text
    return outcome.ran


def test_tutorial_of_b_hive_runs_as_it_stands(tutorial: Law) -> None:
    dataset = ("--dataset-version", "tutorial_01", "--filelist", "train.txt", "--coffea-worker", "2")
    ran = succeeded(tutorial, "tasks.dataset.DatasetConstructorTask", *dataset, "--config", "hlt_run3")
    assert set(ran) == {"DatasetConstructorTask"}
    # no filelist any more: the version stands for it
    ran = succeeded(tutorial, "tasks.training.TrainingTask", *TRAINED, *MODEL, *SMALL)
    assert ran == {"PreprocessTask": 1, "TrainingTask": 2}
    test = ("--test-filelist", "test.txt", "--test-dataset-version", "U")
    ran = succeeded(tutorial, "tasks.roc.ROCCurveTask", *TRAINED, *test, *MODEL, *SMALL)
    assert ran.pop("InferenceTask") == 3  # a branch for each process, and the workflow
    assert set(ran) == {"DatasetConstructorTask", "PreprocessTestTask", "ROCCurveTask"}
    assert {path.suffix for path in output(tutorial, "ROCCurveTask").iterdir()} >= {".png", ".pdf", ".json", ".h5"}
    ran = succeeded(tutorial, "tasks.working_point.WorkingPointTask", *TRAINED, *test, *MODEL, *SMALL)
    assert ran == {"WorkingPointTask": 1}
    ran = succeeded(tutorial, "tasks.export.ExportTask", *TRAINED, *MODEL, *SMALL, fresh=True)
    assert ran == {"ExportTask": 2}
    assert json.loads((output(tutorial, "ExportTask") / "parity.json").read_text())["largest"] < 1e-5
    again = tutorial("tasks.roc.ROCCurveTask", *TRAINED, *test, *MODEL, *SMALL, "--print-status", "-1")
    assert "absent" not in again.text


def test_scores_are_those_of_the_jets_in_the_test_files(tutorial: Law) -> None:
    options = ("--filelist", "train.txt", "--test-filelist", "test.txt", *MODEL, *SMALL)
    succeeded(tutorial, "tasks.inference.InferenceTask", *TRAINED, *options)
    counts: dict[str, int] = {}
    for path in (tutorial.store / "InferenceTask").glob("*/*/*/scores.h5"):
        with h5py.File(path) as file:
            truths = np.array(json.loads(file.attrs["truths"]))[file["truth"][:]]
            probabilities = np.stack([file[f"scores/prob_{name}"][:] for name in json.loads(file.attrs["classes"])])
            pt = file["pt"][:]
        np.testing.assert_allclose(probabilities.sum(0), 1, rtol=1e-5)
        tree = uproot.open(path.with_suffix(".root"))["events"]
        np.testing.assert_array_equal(tree["pt"].array(library="np"), pt)
        for name in truths:
            counts[name] = counts.get(name, 0) + 1
        assert pt.min() >= 15
        ids = tree.arrays(["event_id", "group"], library="np")
        assert len(set(ids["event_id"])) == len(pt)
    # counted again, from the files
    expected = dict.fromkeys(counts, 0)
    flags = {"b": "isB", "gbb": "isGBB", "bb": "isBB", "leptonicb": "isLeptonicB", "leptonicbc": "isLeptonicB_C"}
    for file in (tutorial.folder / "test.txt").read_text().splitlines()[1:]:
        tree = uproot.open(tutorial.folder / file)["DeepJetNTupler/DeepJetvars"]
        names = ["jet_pt", "jet_eta", "jet_genmatch_pt", "jet_genmatch_hflav", *flags.values()]
        columns = tree.arrays(names, library="np")
        kept = (columns["jet_pt"] >= 15) & (columns["jet_pt"] < 1000) & (np.abs(columns["jet_eta"]) < 2.5)
        kept &= (columns["jet_genmatch_pt"] > 0) & (columns["jet_genmatch_hflav"] == 5)
        for name, flag in flags.items():
            expected[name] = expected.get(name, 0) + int((columns[flag][kept] == 1).sum())
    assert {name: counts.get(name, 0) for name in flags} == {name: expected[name] for name in flags}
    assert counts["b"] > 100


def test_training_file_among_the_test_files_is_an_error(tutorial: Law) -> None:
    both = (
        (tutorial.folder / "test.txt").read_text() + (tutorial.folder / "train.txt").read_text().split("\n")[1] + "\n"
    )
    (tutorial.folder / "both.txt").write_text(both)
    options = ("--filelist", "train.txt", "--test-filelist", "both.txt")
    outcome = tutorial("tasks.preprocessing.PreprocessTestTask", "--config", "hlt_run3", *options)
    assert outcome.returncode != 0
    assert "a source file is in the dataset that was trained with and in the one for the test" in outcome.text
    assert not list((tutorial.store / "PreprocessTestTask").glob("*/*/*/manifest.json"))


def test_version_without_a_filelist_and_file_without_a_process_are_errors(tutorial: Law) -> None:
    outcome = tutorial("tasks.preprocessing.PreprocessTask", "--config", "hlt_run3", "--dataset-version", "other")
    assert outcome.returncode != 0
    assert "--filelist" in outcome.text
    config = tutorial.folder / "only_top.yaml"
    config.write_text("extends: hlt_run3\ndataset: only_top_data.yaml\n")
    patterns = ("qcd", "dy", "ggh", "vbfh", "other")
    samples = ", ".join(f"{name}: {{match: ['re:/nothing']}}" for name in patterns)
    (tutorial.folder / "only_top_data.yaml").write_text(f"extends: hlt_run3\nsamples: {{{samples}}}\n")
    outcome = tutorial("tasks.dataset.DatasetConstructorTask", "--config", str(config), "--filelist", "train.txt")
    assert outcome.returncode != 0
    assert "QCD_qcd_1.root" in outcome.text
    assert "matches no sample" in outcome.text


def test_tagger_learns_from_simulated_jets(jets: Law) -> None:
    run = ("--version", "v1", "--config", "jets.yaml", "--epochs", "6")
    succeeded(jets, "workflows.taggers.DeepJetRun", *run, *SMALL, fresh=True)
    heavy, discriminator = discriminator_of(jets)
    (curve,) = json.loads((output(jets, "ROCCurveTask") / "roc.json").read_text())["curves"]
    assert curve["num_signal"] == heavy.sum()
    assert curve["auc"]["value"] == pytest.approx(roc_auc_score(heavy, discriminator), abs=1e-6)
    # one track's impact parameter finds b jets, and so better be exceeded after an epoch of anything
    assert curve["auc"]["value"] > 0.85
    (seed,) = json.loads((output(jets, "WorkingPointTask") / "working_points.json").read_text())["seeds"]
    (result,) = seed["results"]
    loose = result["working_points"]["loose"]
    passed = discriminator[~heavy] >= loose["thresholds"][0]
    assert passed.mean() <= 0.1 < (passed.sum() + 1) / len(passed)  # one jet more would be too many
    assert loose["mistag"][0] == pytest.approx(passed.mean())


def test_tagger_trains_on_real_jets_of_nanoaod(shared_data: Path, tmp_path: Path) -> None:
    law = Law(tmp_path)
    (tmp_path / "files.txt").write_text(f"{shared_data / 'root' / 'nano_tt_v15.root'}\n")
    run = ("--config", "nanoaod_v15", "--filelist", "files.txt", "--epochs", "10", "--set", FEW)
    succeeded(law, "tasks.roc.ROCCurveTask", *run)
    (curve,) = json.loads((output(law, "ROCCurveTask") / "roc.json").read_text())["curves"]
    # a quarter of 348 b jets, and of 1,094 light ones, is for the test
    assert 60 < curve["num_signal"] < 115
    assert 220 < curve["num_background"] < 330
    assert curve["auc"]["value"] - 2 * curve["auc"]["error"] > 0.7


def discriminator_of(law: Law) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which jets are b jets, of b and light jets, and P(b) / (P(b) + P(light)), from the files of scores."""
    found = []
    for path in (law.store / "InferenceTask").glob("*/*/*/scores.h5"):
        with h5py.File(path) as file:
            truths = np.array(json.loads(file.attrs["truths"]))[file["truth"][:]]
            p = {name: file[f"scores/prob_{name}"][:].astype(np.float64) for name in ("b", "uds", "g")}
        found.append((truths, p["b"] / (p["b"] + p["uds"] + p["g"])))
    truth, value = (np.concatenate(column) for column in zip(*found, strict=True))
    is_b, is_light = truth == "b", np.isin(truth, ["uds", "g"])
    return is_b[is_b | is_light], value[is_b | is_light]
