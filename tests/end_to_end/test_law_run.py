"""The whole chain through ``law run``: it finds a planted signal, runs nothing twice, and reruns what it must."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (the store's compression)
import numpy as np
import pytest
import uproot

from honeyguide.io.atomic import MANIFEST, read_manifest, verify
from tests.law_command import Law

ROC = "tasks.roc.ROCCurveTask"
FULL_CHAIN = {
    "DatasetConstructorTask", "PreprocessTask", "TrainingTask", "InferenceTask", "ROCCurveTask",
}  # fmt: skip


def auc_of(law: Law) -> dict[str, float]:
    (file,) = (law.store / "ROCCurveTask").glob("*/*/*/roc.json")
    auc: dict[str, float] = json.loads(file.read_text())["curves"][0]["auc"]
    return auc


def snapshot(store: Path) -> dict[str, tuple[int, int]]:
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_ino) for file in store.rglob("*")}


@pytest.fixture(scope="session")
def chain(generated: Law) -> Law:
    """The store after ROCCurveTask."""
    outcome = generated(ROC, "--config", str(generated.folder / "small.yaml"), fresh=True)
    assert outcome.returncode == 0, outcome.text
    assert set(outcome.ran) == FULL_CHAIN
    return generated


def small(law: Law) -> tuple[str, str]:
    return "--config", str(law.folder / "small.yaml")


def test_signal_is_found_and_with_shuffled_labels_it_is_not(chain: Law, as_files: Law) -> None:
    rows = {file: file.read_text().splitlines() for file in sorted(as_files.folder.glob("*.csv"))}
    header = next(iter(rows.values()))[0]
    events = [row for lines in rows.values() for row in lines[1:]]
    random.Random(1).shuffle(events)
    for file, lines in rows.items():
        mine, events = events[: len(lines) - 1], events[len(lines) - 1 :]
        file.write_text("\n".join([header, *mine]) + "\n")
    outcome = as_files(ROC, "--config", str(as_files.folder / "files.yaml"), "--set", "roc.weighted=false")
    assert outcome.returncode == 0, outcome.text
    right, shuffled = auc_of(chain), auc_of(as_files)
    uncertainty = np.hypot(right["error"], shuffled["error"])
    assert shuffled["value"] == pytest.approx(0.5, abs=4 * shuffled["error"])
    assert right["value"] - shuffled["value"] > 4 * uncertainty


def test_second_run_runs_nothing_and_touches_nothing(chain: Law) -> None:
    before = snapshot(chain.store)
    outcome = chain(ROC, *small(chain))
    assert "Did not run any tasks" in outcome.text
    assert snapshot(chain.store) == before


def test_changed_epochs_rerun_the_training_and_what_follows(chain: Law) -> None:
    outcome = chain(ROC, *small(chain), "--epochs", "3")
    assert set(outcome.ran) == {"TrainingTask", "InferenceTask", "ROCCurveTask"}
    shutil.rmtree(chain.store / "ROCCurveTask")  # the tests above want one result
    assert set(chain(ROC, *small(chain)).ran) == {"ROCCurveTask"}


def test_changed_scaler_reruns_preprocessing_and_what_follows(chain: Law) -> None:
    outcome = chain(
        "tasks.training.TrainingTask", *small(chain), "--set", "preprocess.features=[{name: pt, scaler: robust}]"
    )
    assert set(outcome.ran) == {"PreprocessTask", "TrainingTask"}


def test_changed_file_reruns_its_branch_and_what_follows(as_files: Law) -> None:
    config = ("--config", str(as_files.folder / "files.yaml"), "--epochs", "2")
    first = as_files("tasks.training.TrainingTask", *config)
    # four files: a branch each, and the workflow
    assert first.ran["DatasetConstructorTask"] == 5, first.text
    file = as_files.folder / "qcd_b_0.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    second = as_files("tasks.training.TrainingTask", *config)
    assert second.ran["DatasetConstructorTask"] == 2, second.text
    assert {"PreprocessTask", "TrainingTask"} <= set(second.ran)


def test_overlay_compares_trainings_on_the_same_events(chain: Law) -> None:
    overlay = "small net: model.hidden=[8],training.epochs=2"
    outcome = chain(ROC, *small(chain), "--overlay", overlay)
    assert outcome.returncode == 0, outcome.text
    assert set(outcome.ran) == {"TrainingTask", "InferenceTask", "ROCCurveTask"}
    results = [json.loads(file.read_text()) for file in (chain.store / "ROCCurveTask").glob("*/*/*/roc.json")]
    (both,) = [result for result in results if len(result["events"]) == 2]
    assert both["events"]["small"] == both["events"]["small net"]
    for folder in (chain.store / "ROCCurveTask").glob("*/*/*"):
        if "small net" in (folder / "roc.json").read_text():
            shutil.rmtree(folder)


def test_seeds_are_branches(chain: Law) -> None:
    outcome = chain("tasks.training.TrainingTask", *small(chain), "--set", "training.seeds=[1,2,3],training.epochs=1")
    assert outcome.ran == {"TrainingTask": 4}, outcome.text


def test_every_file_is_named_in_a_manifest_and_unchanged(chain: Law) -> None:
    folders = [manifest.parent for manifest in chain.store.rglob(MANIFEST)]
    named = {folder / name for folder in folders for name in read_manifest(folder)["files"]}
    found = {file for file in chain.store.rglob("*") if file.is_file() and file.name != MANIFEST}
    assert found == named
    assert len({folder.parts[len(chain.store.parts)] for folder in folders}) == 6
    for folder in folders:
        verify(folder)
        assert {"identity", "versions", "git", "config"} <= set(read_manifest(folder)["metadata"])


def test_events_are_aligned_from_the_store_to_the_scores(chain: Law) -> None:
    shards = list(chain.store.glob("DatasetConstructorTask/*/*/*/events.h5"))
    weights: dict[int, float] = {}
    for shard in shards:
        with h5py.File(shard) as file:
            weights |= dict(zip(file["events/id"][:].tolist(), file["events/weight"][:].tolist(), strict=True))
    assert len(weights) == 1200
    scores = list(chain.store.glob("InferenceTask/*/*/*/scores.h5"))
    assert len(scores) >= 3
    for path in scores:
        with h5py.File(path) as file:
            ids, stored, total = file["event_id"][:], file["weight"][:], file["scores/total"][:]
        assert [weights[event] for event in ids.tolist()] == pytest.approx(stored.tolist())
        with uproot.open(path.with_suffix(".root")) as root:
            tree = root["events"].arrays(library="np")
        assert np.array_equal(tree["event_id"], ids)
        assert np.allclose(tree["score_total"], total)


@pytest.mark.parametrize("option", ["--print-status", "--print-deps", "--print-output"])
def test_information_is_printed_and_nothing_runs(chain: Law, option: str) -> None:
    before = snapshot(chain.store)
    outcome = chain(ROC, *small(chain), option, "-1")
    assert outcome.returncode == 0
    for family in (*FULL_CHAIN, "GenerateEventsTask"):
        assert family in outcome.text
    if option == "--print-status":
        assert "absent" not in outcome.text
    assert snapshot(chain.store) == before


def test_missing_file_of_an_output_is_noticed_and_made_again(chain: Law) -> None:
    (file,) = (chain.store / "ROCCurveTask").glob("*/*/*/roc.h5")
    file.unlink()
    assert "absent" in chain(ROC, *small(chain), "--print-status", "0").text
    assert chain(ROC, *small(chain)).ran == {"ROCCurveTask": 1}
    assert file.is_file()


def test_outputs_are_fetched_whole(chain: Law, tmp_path: Path) -> None:
    outcome = chain(ROC, *small(chain), "--fetch-output", f"0,a,{tmp_path / 'fetched'}")
    assert outcome.returncode == 0, outcome.text
    (folder,) = (tmp_path / "fetched").iterdir()
    verify(folder)


def test_removed_output_leaves_nothing(as_files: Law) -> None:
    config = ("--config", str(as_files.folder / "files.yaml"))
    outcome = as_files("tasks.histograms.HistogramPlotterTask", *config, fresh=True)
    assert outcome.ran["HistogramPlotterTask"] == 1, outcome.text
    outcome = as_files("tasks.histograms.HistogramPlotterTask", *config, "--remove-output=-1,a")
    assert outcome.returncode == 0, outcome.text
    assert [file for file in as_files.store.rglob("*") if file.is_file()] == []


def test_every_write_survives_a_kill(as_files: Law) -> None:
    """Kills every task of the chain in the middle of its write and when all is written but the name."""
    config = ("--config", str(as_files.folder / "files.yaml"), "--epochs", "2")
    chain = {
        "DatasetConstructorTask": ROC, "PreprocessTask": ROC, "TrainingTask": ROC, "InferenceTask": ROC,
        "ROCCurveTask": ROC, "InputHistogrammerTask": "tasks.histograms.HistogramPlotterTask",
        "HistogramPlotterTask": "tasks.histograms.HistogramPlotterTask",
    }  # fmt: skip
    for index, (family, task) in enumerate(chain.items()):
        parameters = config if task == ROC else config[:2]
        outcome = as_files(task, *parameters, killed=(family, ("file", "rename")[index % 2]))
        assert outcome.returncode == -9, outcome.text
        complete = [folder for folder in (as_files.store / family).glob("*/*/*") if folder.is_dir()]
        # what is visible is whole; what was being written has another name
        partial = [folder for folder in complete if folder.name.startswith(".")]
        assert len(partial) == 1
        for folder in set(complete) - set(partial):
            verify(folder)
    for task, parameters in ((ROC, config), ("tasks.histograms.HistogramPlotterTask", config[:2])):
        outcome = as_files(task, *parameters)
        assert outcome.returncode == 0, outcome.text
    assert not list(as_files.store.rglob("*.partial*"))


@pytest.mark.parametrize("point", ["file", "rename"])
def test_simulation_survives_a_kill(tmp_path: Path, point: str) -> None:
    law = Law(tmp_path)
    generate = "{process: wprime_to_qqqq, mass: 3500, mass_x: 500, mass_y: 100, events: 20}"
    config = law.write_config("tiny", f"samples: {{w: {{process: w, generator: g, generate: {generate}}}}}")
    task = ("tasks.generate.GenerateEventsTask", "--config", config)
    killed = law(*task, killed=("GenerateEventsTask", point))
    assert killed.returncode == -9, killed.text
    assert "absent" in law(*task, "--print-status", "0").text
    assert law(*task).ran == {"GenerateEventsTask": 2}
    (folder,) = (law.store / "GenerateEventsTask").glob("*/*/*")
    verify(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "training.epohcs=3"), ("unknown key 'epohcs'", "nearest: epochs")),
        (("--set", "training.epochs=many"), ("training.epochs", "got: 'many'")),
        (("--config", "nowhere.yaml"), ("no such config file",)),
    ],
)
def test_mistake_in_the_config_is_one_readable_error(
    as_files: Law, arguments: tuple[str, ...], words: tuple[str]
) -> None:
    config = () if "--config" in arguments else ("--config", str(as_files.folder / "files.yaml"))
    outcome = as_files(ROC, *config, *arguments)
    assert outcome.returncode != 0
    assert "Traceback" not in outcome.text
    for word in words:
        assert word in outcome.text


def _truncate(folder: Path) -> None:
    file = folder / "qcd_a_1.csv"
    file.write_bytes(file.read_bytes()[:-1000])


def _nan(folder: Path) -> None:
    file = folder / "qcd_a_1.csv"
    lines = file.read_text().splitlines()
    cells = lines[5].split(",")
    cells[7] = "nan"
    file.write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n")


def _copy(folder: Path) -> None:
    shutil.copy(folder / "qcd_a_1.csv", folder / "svj_9.csv")


def _empty(folder: Path) -> None:
    (folder / "qcd_a_1.csv").write_bytes(b"")


def _missing(folder: Path) -> None:
    for file in folder.glob("svj*.csv"):
        file.unlink()


def test_full_store_is_one_readable_error_and_nothing_is_half_written(as_files: Law, tmp_path: Path) -> None:
    as_files.store.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", as_files.store], capture_output=True)
    if mount.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mount.stderr!r}")
    try:
        config = str(as_files.folder / "files.yaml")
        outcome = as_files("tasks.dataset.DatasetConstructorTask", "--config", config)
        assert outcome.returncode != 0
        assert "Traceback" not in outcome.text
        assert "No space left" in outcome.text
        assert "is the store full or read-only?" in outcome.text
        assert [file for file in as_files.store.rglob("*") if file.is_file()] == []
        subprocess.run(["mount", "-o", "remount,ro", as_files.store], check=True)
        outcome = as_files("tasks.dataset.DatasetConstructorTask", "--config", config)
        assert "Traceback" not in outcome.text
        assert "Read-only" in outcome.text
    finally:
        subprocess.run(["umount", as_files.store], check=True)


def test_sample_that_bead_ships_converts_whole_and_trains(tmp_path: Path, shared_data: Path) -> None:
    law = Law(tmp_path, {"HONEYGUIDE_DATA": str(shared_data)})
    outcome = law("tasks.inference.InferenceTask", "--config", "bead_sample")
    assert outcome.returncode == 0, outcome.text
    for sample in ("train_herwig", "train_pythia", "train_sherpa", "test_herwig", "test_pythia"):
        lines = (shared_data / "bead" / f"bkg_{sample}.csv").read_text().splitlines()
        events = sum(bool(line.strip(", ")) for line in lines[1:])
        (shard,) = law.store.glob(f"DatasetConstructorTask/*/*/{sample}-*/events.h5")
        with h5py.File(shard) as file:
            assert len(file["events/id"]) == events
            assert events in (9, 10)
    assert len(list(law.store.glob("InferenceTask/*/*/*/scores.root"))) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, r"qcd_a_1\.csv.*line \d+"),
        (_nan, r"qcd_a_1\.csv.*line 6"),
        (_copy, r"byte-identical"),
        (_empty, r"qcd_a_1\.csv"),
        (_missing, r"no file matches"),
    ],
)
def test_bad_file_is_one_readable_error_and_nothing_is_half_written(
    as_files: Law, damage: Callable[[Path], None], words: str
) -> None:
    damage(as_files.folder)
    outcome = as_files("tasks.preprocessing.PreprocessTask", "--config", str(as_files.folder / "files.yaml"))
    assert outcome.returncode != 0
    assert "Traceback" not in outcome.text
    assert re.search(words, outcome.text, re.DOTALL), outcome.text
    assert not list(as_files.store.rglob("*.partial*"))
    for folder in as_files.store.glob("*/*/*/*"):
        verify(folder)


def test_two_configs_on_one_dataset_convert_it_once(as_files: Law) -> None:
    other = as_files.folder / "other.yaml"
    other.write_text("extends: files.yaml\ntraining: {epochs: 1}\n")
    config = str(as_files.folder / "files.yaml")
    outcome = as_files(ROC, "--config", config, "--epochs", "1", "--overlay", f"other: {other}")
    assert outcome.returncode == 0, outcome.text
    # a branch says how many rows it has read; the second task for the same output finds it there
    assert outcome.text.count("300 rows read") == 4
