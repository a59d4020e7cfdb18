"""One training as plain values, which any process can be given in a file."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

import models
from honeyguide.scans.study import TrialReference
from honeyguide.training.settings import TrainingSettings
from tasks.gpus import without_gpu

if TYPE_CHECKING:
    from honeyguide.training.ranks import Member
    from honeyguide.training.run import Session


class TrainingJob(BaseModel):
    """What :func:`honeyguide.training.run.train` is told.

    Attributes:
        inputs: Folder of model inputs.
        fold: Number of the fold that validates and number of folds; None for the splits as they are.
        folder: Where the files of the training go.
        checkpoint: Folder for the state of the unfinished training.
        model: Config of the model.
        training: How to train.
        seed: Seed of the weights, the order of events and the random draws.
        provenance: What led here.
        trial: The trial of a study that is told of each epoch, and may end the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Path
    fold: tuple[int, int] | None
    folder: Path
    checkpoint: Path
    model: dict[str, Any]
    training: TrainingSettings
    seed: int
    provenance: dict[str, Any]
    trial: TrialReference | None = None

    def run(self, member: Member) -> None:
        """Trains in this process, which is one of those that train together; the first one says how it goes."""
        from honeyguide.data.folds import Fold
        from honeyguide.training.run import train

        missing = without_gpu(self.training.device)
        if missing and member.rank == 0 and self.training.device == "auto":  # where it is "cuda", that is an error
            warnings.warn(missing, stacklevel=2)
        train(
            self.inputs if self.fold is None else Fold(self.inputs, *self.fold),
            self.folder,
            build_model=functools.partial(models.build, models.parse(self.model)),
            settings=self.training,
            seed=self.seed,
            provenance=self.provenance,
            session=self.session(member),
        )

    def session(self, member: Member) -> Session:
        """Returns what no result depends on; the first process shows the progress, and tells the study."""
        from honeyguide.training.progress import TerminalProgress
        from honeyguide.training.run import Session

        session = Session(checkpoint=self.checkpoint, member=member)
        if member.rank:
            return session
        gives_up = None if self.trial is None else self.trial.watch()
        return dataclasses.replace(session, progress=TerminalProgress(), gives_up=gives_up)
