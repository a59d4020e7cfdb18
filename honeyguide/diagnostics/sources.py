"""What is looked at: where the files of a training and of the tasks before it are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sources:
    """The folders and files of one training.

    Attributes:
        training: Folder that :func:`honeyguide.training.run.train` has written.
        inputs: Folder of the model inputs that it was trained with.
        scores: The ``scores.h5`` of this training, by sample.
        stages: Output folder, or folders, of every task before this one by the task's name; each has a manifest.
        label: What people call the training.
    """

    training: Path
    inputs: Path
    scores: Mapping[str, Path]
    stages: Mapping[str, Path | Sequence[Path]]
    label: str
