"""A study of several processes: each branch has its own trial, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from honeyguide.errors import StoreError
from honeyguide.scans.outcomes import Outcome
from honeyguide.scans.space import Choices, Range
from honeyguide.scans.study import FILE, Study, StudyTrial

SPACE = {"x": Range(0.0, 1.0, log=False, whole=False), "kind": Choices(("[1]", "[2]"))}


def make(folder: Path, **changes) -> Study:
    given = {"objective": "total", "direction": "minimize", "seed": 1, "warmup_epochs": 0}
    return Study(folder, SPACE, **(given | changes))


def record(epoch: int, value: float) -> dict:
    return {"epoch": epoch, "validation": {"total": value}, "train": {"total": 9.0}}


def finish(trial: StudyTrial, *values: float) -> None:
    epochs = [record(epoch, value) for epoch, value in enumerate(values)]
    trial.complete([Outcome(values[-1], len(values), len(values), 1.0)], epochs)


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder / FILE}").trials


def in_another_process(work: Callable[[], None]) -> int:
    """What another process has ended with."""
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitpid(process, 0)[1]


def test_a_killed_branch_goes_on_with_its_trial(tmp_path):
    def killed() -> None:
        with make(tmp_path).trial(3) as trial:
            watch = trial.reference.watch()
            watch(record(0, 0.5))
            watch(record(1, 0.4))
            os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_another_process(killed)) == signal.SIGKILL
    (before,) = trials(tmp_path)
    with make(tmp_path).trial(3) as trial:
        assert trial.is_running
        assert trial.point == {"x": repr(before.params["x"]), "kind": before.params["kind"]}
        watch = trial.reference.watch()
        assert watch(record(1, 0.9)) is False  # the checkpoint was older: this epoch was told of before
        finish(trial, 0.5, 0.9, 0.3)
    (after,) = trials(tmp_path)
    assert after.intermediate_values == {0: 0.5, 1: 0.4, 2: 0.3}
    assert (after.state.name, after.value) == ("COMPLETE", 0.3)
    with make(tmp_path).trial(3) as trial:  # killed before it could write its file
        assert not trial.is_running
        trial.write(tmp_path)
    written = json.loads((tmp_path / "trial.json").read_text())
    assert (written["state"], written["value"], written["epochs"]) == ("complete", 0.3, {"1": 0.5, "2": 0.4, "3": 0.3})


def test_a_trial_without_a_branch_is_taken_over(tmp_path):
    with make(tmp_path).trial(0) as trial:
        finish(trial, 0.5)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / FILE}")
    study.ask().suggest_float("x", 0.0, 1.0)  # killed right after
    with make(tmp_path).trial(1) as trial:
        assert set(trial.point) == {"x", "kind"}
        finish(trial, 0.4)
    assert [(t.number, t.state.name, t.user_attrs["branch"]) for t in trials(tmp_path)] == [
        (0, "COMPLETE", 0),
        (1, "COMPLETE", 1),
    ]


def test_two_processes_have_two_trials_and_none_works_on_the_other_ones(tmp_path):
    def other() -> None:
        with make(tmp_path).trial(1) as trial:
            finish(trial, 0.2)
        with pytest.raises(StoreError, match="another process works on this trial"), make(tmp_path).trial(0):
            pass
        assert make(tmp_path).close() == 0
        os._exit(0)

    with make(tmp_path).trial(0) as trial:
        assert in_another_process(other) == 0
        assert trial.is_running
        finish(trial, 0.1)
    found = trials(tmp_path)
    assert [t.user_attrs["branch"] for t in found] == [0, 1]
    assert found[0].params != found[1].params


def test_a_dead_trial_does_not_run_for_ever_and_its_branch_may_begin_anew(tmp_path):
    with make(tmp_path).trial(0):
        pass  # an error that has nothing to do with the point
    assert make(tmp_path).close() == 1
    assert [trial.state.name for trial in trials(tmp_path)] == ["FAIL"]
    with make(tmp_path).trial(0) as trial:
        assert trial.reference.number == 1
        trial.give_up("the training has diverged")
    with make(tmp_path).trial(0) as trial:  # that is a result, which would come again
        assert (trial.reference.number, trial.is_running) == (1, False)
        trial.write(tmp_path)
    written = json.loads((tmp_path / "trial.json").read_text())
    assert (written["state"], written["reason"]) == ("failed", "the training has diverged")


def test_a_trial_worse_than_the_median_is_pruned_after_the_warm_up(tmp_path):
    study = make(tmp_path, direction="maximize", warmup_epochs=1)
    for branch in range(5):
        with study.trial(branch) as trial:
            finish(trial, -0.5, -(0.4 + 0.01 * branch))
    with study.trial(5) as trial:
        watch = trial.reference.watch()
        assert watch(record(0, -0.9)) is False
        assert watch(record(1, -0.41)) is False  # the median of the others is 0.42
    with study.trial(6) as trial:
        watch = trial.reference.watch()
        assert watch(record(0, -0.9)) is False
        assert watch(record(1, -0.43)) is True
        trial.give_up()
        trial.write(tmp_path)
    written = json.loads((tmp_path / "trial.json").read_text())
    assert (written["state"], written["epochs"]) == ("pruned", {"1": -0.9, "2": -0.43})


def test_the_sampler_draws_the_same_again_and_not_the_same_for_two_branches(tmp_path):
    points = []
    for folder in ("a", "b"):
        for branch in (0, 1):
            with make(tmp_path / folder).trial(branch) as trial:
                points.append(trial.point)
                finish(trial, 0.5)
    assert points[:2] == points[2:]
    assert points[0] != points[1]
