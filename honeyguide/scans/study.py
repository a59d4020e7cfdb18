"""An Optuna study whose trials are the branches of a workflow, each in a process of its own, on any machine.

The study is an SQLite file in a folder that all processes see. Beside it are lock files: their locks (POSIX, which
network file systems have, too) end with the process that holds one, however it ends. So whoever finds a trial that runs
and no lock on it knows that its process is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from honeyguide.errors import ConfigError, StoreError
from honeyguide.scans.outcomes import Direction, Outcome, objective_of
from honeyguide.scans.space import Choices, Point, Space

if TYPE_CHECKING:
    import optuna

FILE = "study.sqlite"
_NAME = "honeyguide"
_STARTUP_TRIALS = 5  # trials that are complete before any is pruned
_WAIT = 300.0  # seconds that a process waits for others to write


class TrialReference(BaseModel):
    """A trial as it can be told to another process.

    Attributes:
        folder: That of the study.
        number: Optuna's number of the trial.
        objective: Term of the validation loss that counts.
        warmup_epochs: Epochs before the trial may be pruned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    number: int
    objective: str
    warmup_epochs: int

    def watch(self) -> Callable[[Mapping[str, Any]], bool]:
        """Returns what tells the study of each epoch, and says whether the trial shall be pruned."""
        study = _open(self.folder, warmup_epochs=self.warmup_epochs)
        trial = _running(study, study.trials[self.number])

        def gives_up(record: Mapping[str, Any]) -> bool:
            self.report(trial, [record])
            return bool(trial.should_prune())

        return gives_up

    def report(self, trial: optuna.Trial, records: Iterable[Mapping[str, Any]]) -> None:
        """Tells the study of epochs that it does not know: a training that goes on makes some of them again."""
        known = trial.study.trials[self.number].intermediate_values
        for record in records:
            if record["epoch"] not in known:
                trial.report(objective_of(record, self.objective), record["epoch"])


def check_installed() -> None:
    """Raises an error where there is no Optuna.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("a study needs Optuna, which is not installed", hint="pip install 'optuna>=5,<6'")


class Study:
    """A study in a folder.

    Args:
        folder: Where it is, or shall be.
        space: What is varied.
        objective: Term of the validation loss that counts.
        direction: What is better: ``minimize`` or ``maximize``.
        seed: Of the sampler (tree-structured Parzen estimators; the first ten trials are random).
        warmup_epochs: Epochs before a trial may be pruned: by the median of what others had at the same epoch, once
            five are complete.
    """

    def __init__(
        self, folder: Path, space: Space, *, objective: str, direction: Direction, seed: int, warmup_epochs: int
    ) -> None:
        self.folder, self._space, self._objective, self._direction = folder, space, objective, direction
        self._seed, self._warmup_epochs = seed, warmup_epochs

    @contextlib.contextmanager
    def trial(self, branch: int) -> Iterator[StudyTrial]:
        """Yields the trial of a branch, the one that it had begun if any, and keeps other processes off it.

        Raises:
            StoreError: Another process works on it, or the folder knows no locks.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._lock(branch), wait=False):
            with _locked(self.folder / "turn.lock"):
                seed = self._seed + 10007 * branch  # no two draw the same
                study = _open(self.folder, warmup_epochs=self._warmup_epochs, seed=seed, direction=self._direction)
                found = self._find(study, branch) or self._begin(study, branch)
            reference = TrialReference(
                folder=self.folder, number=found.number, objective=self._objective, warmup_epochs=self._warmup_epochs
            )
            yield StudyTrial(study, reference)

    def close(self) -> int:
        """Marks trials as failed whose processes are dead, and returns their number.

        A branch that is run again later goes on from its checkpoint if it was not marked, and begins anew else.
        """
        with _locked(self.folder / "turn.lock"):
            study = _open(self.folder, warmup_epochs=self._warmup_epochs)
            dead = [trial for trial in study.trials if not trial.state.is_finished() and self._is_dead(trial)]
            for trial in dead:
                study.tell(trial.number, state=_state("FAIL"))
            return len(dead)

    def _lock(self, branch: int) -> Path:
        return self.folder / f"branch{branch}.lock"

    def _is_dead(self, trial: optuna.trial.FrozenTrial) -> bool:
        if "branch" not in trial.user_attrs:  # it is given that in the same turn, which is ours now
            return True
        try:
            with _locked(self._lock(trial.user_attrs["branch"]), wait=False):
                return True
        except StoreError:
            return False

    def _find(self, study: optuna.Study, branch: int) -> optuna.trial.FrozenTrial | None:
        own = [trial for trial in study.trials if trial.user_attrs.get("branch") == branch]
        if not own or (own[-1].state.name == "FAIL" and "reason" not in own[-1].user_attrs):
            return None
        if own[-1].state.name == "RUNNING":
            self._suggest(_running(study, own[-1]))  # what it has stays
        return own[-1]

    def _begin(self, study: optuna.Study, branch: int) -> optuna.trial.FrozenTrial:
        """Returns a new trial, or the one of a process that was killed before it could say whose it is."""
        orphans = [t for t in study.trials if t.state.name == "RUNNING" and "branch" not in t.user_attrs]
        trial = _running(study, orphans[0]) if orphans else study.ask()
        trial.set_user_attr("branch", branch)
        self._suggest(trial)
        return study.trials[trial.number]

    def _suggest(self, trial: optuna.Trial) -> None:
        for key, values in self._space.items():
            if isinstance(values, Choices):
                trial.suggest_categorical(key, values.texts)
            elif values.whole:
                trial.suggest_int(key, int(values.low), int(values.high), log=values.log)
            else:
                trial.suggest_float(key, values.low, values.high, log=values.log)


class StudyTrial:
    """One trial of a study."""

    def __init__(self, study: optuna.Study, reference: TrialReference) -> None:
        self._study, self.reference = study, reference

    @property
    def _frozen(self) -> optuna.trial.FrozenTrial:
        return self._study.trials[self.reference.number]

    @property
    def point(self) -> Point:
        """The value of each key, as text."""
        return {key: value if isinstance(value, str) else repr(value) for key, value in self._frozen.params.items()}

    @property
    def is_running(self) -> bool:
        """Whether it has no result so far."""
        return not self._frozen.state.is_finished()

    def complete(self, outcomes: list[Outcome], epochs: Sequence[Mapping[str, Any]]) -> None:
        """Ends it with the mean over its trainings.

        Args:
            outcomes: The trainings.
            epochs: ``metrics.json`` of the first, told to the study where it does not know them yet.
        """
        running = _running(self._study, self._frozen)
        self.reference.report(running, epochs)
        running.set_user_attr("outcomes", [vars(outcome) for outcome in outcomes])
        self._end("COMPLETE", math.fsum(outcome.value for outcome in outcomes) / len(outcomes))

    def give_up(self, reason: str = "") -> None:
        """Ends it where it is, since others had been better by then; or for a reason that makes it fail each time."""
        if reason:
            _running(self._study, self._frozen).set_user_attr("reason", reason)
        self._end("FAIL" if reason else "PRUNED")

    def _end(self, state: Literal["COMPLETE", "PRUNED", "FAIL"], value: float | None = None) -> None:
        self._study.tell(self.reference.number, value, state=_state(state))

    def write(self, folder: Path) -> None:
        """Writes ``trial.json``: what the study knows of the trial."""
        frozen = self._frozen
        content = {
            "trial": frozen.number,
            "point": self.point,
            "state": {"COMPLETE": "complete", "PRUNED": "pruned"}.get(frozen.state.name, "failed"),
            "objective": self.reference.objective,
            "value": frozen.value if frozen.state.name == "COMPLETE" else None,
            "reason": frozen.user_attrs.get("reason", ""),
            "outcomes": frozen.user_attrs.get("outcomes", []),
            "epochs": {str(epoch + 1): value for epoch, value in sorted(frozen.intermediate_values.items())},
        }
        (folder / "trial.json").write_text(json.dumps(content, indent=1))


def _open(folder: Path, *, warmup_epochs: int, seed: int = 0, direction: Direction = "minimize") -> optuna.Study:
    """Returns the study, which keeps the direction that it was made with."""
    import optuna
    from sqlalchemy.pool import NullPool

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # no connection stays open: processes fork, and on a network file system an open file may hide what others write
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{folder / FILE}", engine_kwargs={"connect_args": {"timeout": _WAIT}, "poolclass": NullPool}
    )
    return optuna.create_study(
        study_name=_NAME,
        storage=storage,
        load_if_exists=True,
        direction=direction,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warmup_epochs),
    )


def _running(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
    import optuna

    return optuna.Trial(study, frozen._trial_id)


def _state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock on a file.

    Raises:
        StoreError: It is not to be waited for and another process holds it, or the file system has no locks.
    """
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError) as error:
            raise StoreError("another process works on this trial", where=path) from error
        except OSError as error:
            raise StoreError(
                "a study needs a file system with locks", where=path, got=error, hint="HONEYGUIDE_STORE on another one"
            ) from error
        yield
