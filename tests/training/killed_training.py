"""Trainings that are killed again and again: python killed_training.py JOBS.json, which prints how each life ended.

A job has ``inputs``, ``folder``, ``checkpoint``, ``model``, ``settings`` and ``lives``: for each life where it ends, or
null to train to the end. A life is as many processes as the settings say, forked, so that torch is imported once.
Places are ``[signal, what, number]``: at that step (``step``), record of an epoch (``epoch``) or validation batch
(``validation``) of the life, or in the midst of its write of a checkpoint (``write``), SIGKILL goes to all of its
processes, and SIGTERM to the last one alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch._dynamo  # the first step of an optimizer imports it: once for all lives
from torch import Tensor

import models
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.model import Model
from honeyguide.training import checkpoint
from honeyguide.training.progress import SilentProgress
from honeyguide.training.ranks import Member
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.stopping import StoppedError


class Killer(SilentProgress):
    """Counts what happens, and sends the signal when the time has come."""

    def __init__(self, place: tuple[str, str, int] | None, *, is_sender: bool) -> None:
        self._place = place if is_sender else None
        self._counts: dict[str, int] = {}

    def at(self, what: str) -> bool:
        """Returns whether the signal is due at this event; sends it, but for writes, which go on half way first."""
        self._counts[what] = self._counts.get(what, 0) + 1
        if self._place is None or (what, self._counts[what]) != self._place[1:]:
            return False
        if what != "write":
            send(self._place[0])
        return True

    def batch(self, _: int) -> None:
        """Is a step."""
        self.at("step")

    def epoch(self, _: Any) -> None:
        """Is an epoch."""
        self.at("epoch")


def send(name: str) -> None:
    """Sends SIGKILL to all processes of this life, any other signal to this one."""
    if name == "SIGKILL":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.Signals[name])


def live(job: dict[str, Any], place: tuple[str, str, int] | None, member: Member) -> None:
    """Trains, or dies."""
    # a single process writes: the first
    sender = 0 if place is not None and place[1] == "write" else member.size - 1
    killer = Killer(place, is_sender=member.rank == sender)
    save = checkpoint.save_file

    def save_or_die(tensors: dict[str, Tensor], path: Path, **options: Any) -> None:
        save(tensors, path, **options)
        if killer.at("write"):
            os.truncate(path, path.stat().st_size // 2)
            send("SIGKILL")

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
    session = Session(progress=killer, checkpoint=Path(job["checkpoint"]), member=member)
    train(Path(job["inputs"]), folder, build_model=build, settings=settings, seed=1, provenance={}, session=session)


def ending(job: dict[str, Any], place: Any) -> int:
    """Returns how all processes of one life have ended: 0, 3 (stopped), 4 (failed), minus the signal, or 5 (unlike)."""
    size = job["settings"].get("processes", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    children: list[int] = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.setpgid(0, children[0] if children else 0)
            _one_process(job, place, Member(rank, size, rank, address))
        children.append(child)
        os.setpgid(child, children[0])
    codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    return codes.pop() if len(codes) == 1 else 5


def _one_process(job: dict[str, Any], place: Any, member: Member) -> NoReturn:
    try:
        live(job, tuple(place) if place else None, member)
    except StoppedError:
        os._exit(3)
    except BaseException:
        traceback.print_exc()
        os._exit(4)
    os._exit(0)


def main() -> None:
    """Lives all lives of all jobs."""
    jobs = json.loads(Path(sys.argv[1]).read_text())
    json.dump([[ending(job, place) for place in job["lives"]] for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
