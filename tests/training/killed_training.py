"""Trainings that are killed again and again: python killed_training.py JOBS.json, which prints how each life ended.

A job has ``inputs``, ``folder``, ``checkpoint``, ``model``, ``settings`` and ``lives``: for each process (forked, so
that torch is imported once) where it dies, or null to train to the end. Places are ``[signal, what, number]``: the
signal that the process sends to itself at its own step (``step``), record of an epoch (``epoch``) or validation batch
(``validation``) of that number, or in the midst of its write of a checkpoint (``write``).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first step of an optimizer imports it: once for all lives
from torch import Tensor

import models
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.model import Model
from honeyguide.training import checkpoint
from honeyguide.training.progress import SilentProgress
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.stopping import StoppedError


class Killer(SilentProgress):
    """Counts what happens, and sends the signal when the time has come."""

    def __init__(self, place: tuple[str, str, int] | None) -> None:
        self._place = place
        self._counts: dict[str, int] = {}

    def at(self, what: str) -> bool:
        """Returns whether the signal is due at this event; sends it, but for writes, which go on half way first."""
        self._counts[what] = self._counts.get(what, 0) + 1
        if self._place is None or (what, self._counts[what]) != self._place[1:]:
            return False
        if what != "write":
            os.kill(os.getpid(), signal.Signals[self._place[0]])
        return True

    def batch(self, _: int) -> None:
        """Is a step."""
        self.at("step")

    def epoch(self, _: Any) -> None:
        """Is an epoch."""
        self.at("epoch")


def live(job: dict[str, Any], place: tuple[str, str, int] | None) -> None:
    """Trains, or dies."""
    killer = Killer(place)
    save = checkpoint.save_file

    def save_or_die(tensors: dict[str, Tensor], path: Path, **options: Any) -> None:
        save(tensors, path, **options)
        if killer.at("write"):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = save_or_die

    def build(spec: InputSpec) -> Model:
        model = models.build(models.parse(job["model"]), spec)
        loss = model.loss

        def noted(batch: Batch) -> dict[str, Tensor]:
            if not model.training:
                torch.rand(1)  # a validation that draws random numbers must not change what follows
                killer.at("validation")
            return loss(batch)

        model.loss = noted  # type: ignore[method-assign]
        return model

    folder = Path(job["folder"])
    folder.mkdir(exist_ok=True)
    settings = TrainingSettings.model_validate_json(json.dumps(job["settings"]))
    session = Session(progress=killer, checkpoint=Path(job["checkpoint"]))
    train(Path(job["inputs"]), folder, build_model=build, settings=settings, seed=1, provenance={}, session=session)


def ending(job: dict[str, Any], place: Any) -> int:
    """Returns the exit code of a process that lives one life: 0, 3 (stopped), 4 (failed), or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            live(job, tuple(place) if place else None)
        except StoppedError:
            os._exit(3)
        except BaseException:
            traceback.print_exc()
            os._exit(4)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Lives all lives of all jobs."""
    jobs = json.loads(Path(sys.argv[1]).read_text())
    json.dump([[ending(job, place) for place in job["lives"]] for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
