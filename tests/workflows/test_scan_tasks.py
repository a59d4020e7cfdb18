"""A scan's branches are the very trainings of TrainingTask, and what they need is made for each point."""

from __future__ import annotations

from pathlib import Path

import law
import luigi
import pytest

from honeyguide.errors import ConfigError
from honeyguide.scans.outcomes import write_failure
from tasks.preprocessing import PreprocessTask
from tasks.training import TrainingTask
from workflows.ensemble import EnsembleTask
from workflows.scan import ScanParameters, ScanTask, ScanTrainingTask, ScanTrialTask

SCAN = ("training.lr=1e-3,1e-4", "model.latent=2,3")


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path))


def paths(task: law.Task) -> list[str]:
    return [branch.output().path for branch in task.get_branch_tasks().values()]


def test_a_branch_is_the_training_with_the_overrides_of_its_point():
    scan = ScanTrainingTask(scan=SCAN, set=("training.seeds=[4,5]",))
    points = [(rate, width) for rate in ("1e-3", "1e-4") for width in (2, 3)]
    trainings = [
        TrainingTask(set=("training.seeds=[4,5]", f"training.learning_rate={rate}", f"model.latent_dim={width}"))
        for rate, width in points
    ]
    assert paths(scan) == [path for training in trainings for path in paths(training)]
    assert len(set(paths(scan))) == 8
    more = ScanTrainingTask(scan=("model.latent=2,3,4", "training.lr=1e-5,1e-3,1e-4"), set=("training.seeds=[4,5]",))
    assert set(paths(scan)) < set(paths(more))
    few, many = (
        ScanTrainingTask(scan=("training.lr=log(1e-5,1e-2)",), method="random", num_points=number) for number in (3, 5)
    )
    assert paths(many)[:3] == paths(few)


def test_every_point_has_the_model_inputs_that_it_needs():
    same = ScanTrainingTask(scan=SCAN).workflow_requires()["trainings"]
    assert same == [PreprocessTask()]
    other = ScanTrainingTask(scan=("preprocess.num_jets=1,2",))
    assert other.workflow_requires()["trainings"] == [
        PreprocessTask(set=(f"preprocess.num_jets={number}",)) for number in (1, 2)
    ]
    assert [branch.requires()["inputs"] for branch in other.get_branch_tasks().values()] == [
        PreprocessTask(set=(f"preprocess.num_jets={number}",)) for number in (1, 2)
    ]


def test_a_diverged_training_is_a_result_of_the_scan_and_none_of_the_training():
    branch = ScanTrainingTask(scan=SCAN).as_branch(1)
    assert not branch.complete()
    with branch.output().failure.write() as folder:
        write_failure(folder, "it has diverged")
    assert branch.complete()
    assert branch.output().found == branch.output().failure.folder
    assert not branch.training.complete()
    assert ScanTrainingTask(scan=SCAN).output()["collection"].count() == 1
    branch.output().remove()
    assert not branch.complete()


def test_jobs_ask_for_what_those_of_trainings_do_where_nothing_else_is_said():
    config, training = luigi.configuration.get_config(), TrainingTask(epochs=7)
    config.set("ScanTrainingTask", "gpu_type", "a100")
    try:  # parameters of their own, as tasks are made once
        scan, trials = (
            task(scan=("training.lr=1e-3",), epochs=7, cpus=3, method=method)
            for task, method in ((ScanTrainingTask, "grid"), (ScanTrialTask, "optuna"))
        )
    finally:
        config.remove_section("ScanTrainingTask")
    assert training.memory > 0
    assert training.cpus != 3
    assert (scan.memory, scan.gpus, scan.cpus, scan.gpu_type) == (training.memory, training.gpus, 3, "a100")
    assert (trials.memory, trials.gpus, trials.cpus, trials.gpu_type) == (training.memory, training.gpus, 3, "")
    point = scan.of_point(scan.set)  # who checks that the trainings are possible with these
    assert (point.memory, point.cpus, point.gpu_type) == (scan.memory, 3, "a100")


def test_a_study_is_another_one_for_other_questions_and_the_same_for_more_trials():
    def folder(**changes) -> Path:
        task = ScanTrialTask(**{"scan": ("training.lr=log(1e-5,1e-2)",), "method": "optuna", "branch": 0} | changes)
        return task.study().folder

    assert folder() == folder(num_points=50, workflow="slurm")
    others = [{"scan": ("training.lr=log(1e-5,1e-3)",)}, {"objective": "reconstruction"}, {"direction": "maximize"}]
    others += [{"scan_seed": 2}, {"warmup_epochs": 9}, {"epochs": 3}, {"set": ("training.seeds=[3]",)}]
    assert len({folder(), *(folder(**changes) for changes in others)}) == len(others) + 1
    first, more = (ScanTrialTask(scan=("training.lr=log(1e-5,1e-2)",), method="optuna", num_points=n) for n in (3, 5))
    assert paths(more)[:3] == paths(first)


def test_the_table_depends_on_every_point_and_on_what_counts():
    base = ScanTask(scan=SCAN).output().path
    assert ScanTask(scan=("training.learning_rate=1e-3,1e-4", "model.latent=2,3")).output().path == base
    for changes in ({"scan": SCAN[:1]}, {"objective": "reconstruction"}, {"direction": "maximize"}, {"epochs": 3}):
        assert ScanTask(**{"scan": SCAN} | changes).output().path != base
    assert ScanTask(scan=SCAN, num_points=7, warmup_epochs=1, workflow="slurm").output().path == base


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "reconstrution"}, "(?s)no such term.*nearest: reconstruction"),
        ({"direction": "up"}, "no such direction"),
        ({"num_points": 0}, "a scan has points"),
        ({"scan": ("training.lr=1e-3,fast",)}, "where: --scan training.learning_rate=fast"),
        ({"scan": ("training.lr=1e-3,fast",), "method": "optuna"}, "where: --scan training.learning_rate=fast"),
    ],
)
def test_mistakes_are_found_before_any_job_is_submitted(given, message):
    with pytest.raises(ConfigError, match=message):
        ScanTask(**{"scan": SCAN} | given)


def test_accuracy_shall_be_high():
    tagger = {"config": "quickstart_tagging", "scan": ("training.lr=1e-3,1e-4",)}
    assert ScanTask(**tagger, objective="accuracy").direction == "maximize"
    assert ScanTask(**tagger).direction == "minimize"


def test_words_after_an_option_are_joined():
    parser = luigi.cmdline_parser.CmdlineParser._build_parser("ScanTask")
    found = parser.parse_args(
        ["ScanTask", "--scan", "a.b=1,2", "c.d={e: 1, f: 2}", "--method", "random", "--scan", "g.h=3"]
    )
    assert ScanParameters.scan.parse(found.scan) == ("a.b=1,2", "c.d={e: 1, f: 2}", "g.h=3")


def test_an_ensemble_is_of_two_trainings_or_more():
    with pytest.raises(ConfigError, match="two trainings or more"):
        EnsembleTask().requires()
    two = {seeds: EnsembleTask(set=(f"training.seeds={seeds}",)).output().path for seeds in ("[1,2]", "[1,3]")}
    assert len(set(two.values())) == 2
