"""Train a model."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import law
import luigi

import models
from tasks.base import HoneyguideTask
from tasks.preprocessing import PreprocessTask


class TrainingParameters(HoneyguideTask):
    """Parameters of all tasks from the training on; each flag is a short form of an override."""

    training_version = luigi.Parameter(
        default="v1", description="your tag for the training, part of its output paths; default: v1"
    )
    model_name = luigi.Parameter(default=law.NO_STR, description="short for --set model.family=NAME; default: config's")
    epochs = luigi.IntParameter(
        default=law.NO_INT, description="short for --set training.epochs=N; default: the config's"
    )
    batch_size = luigi.IntParameter(
        default=law.NO_INT, description="short for --set training.batch_size=N; default: the config's"
    )
    n_threads = luigi.IntParameter(
        default=law.NO_INT,
        significant=False,
        description="short for --set training.num_threads=N; no result depends on it; default: the config's",
    )

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess", "model", "training")
    flags: ClassVar[dict[str, tuple[str, Any]]] = {
        "model_name": ("model.family", law.NO_STR),
        "epochs": ("training.epochs", law.NO_INT),
        "batch_size": ("training.batch_size", law.NO_INT),
        "n_threads": ("training.num_threads", law.NO_INT),
    }

    def path_parts(self) -> tuple[str, ...]:
        """Returns the experiment's name and the training's tag."""
        return (self.experiment.name, self.training_version)


class TrainingTask(TrainingParameters, law.LocalWorkflow):  # type: ignore[misc]
    """Train the model on the training split; a branch is a seed.

        law run TrainingTask --config quickstart --epochs 20
        law run TrainingTask --config quickstart --set "training.seeds=[1,2,3],model.latent_dim=8"

    Outputs: ``best.safetensors`` (lowest validation loss) and ``last.safetensors``, ``model.json`` (what to build),
    ``metrics.json`` (every term at every epoch), ``provenance.json``, ``tensorboard/``.
    """

    own_sections = ("model", "training")
    result_version = 1

    def create_branch_map(self) -> list[int]:
        """Returns the seeds."""
        return list(self.experiment.settings.training.seeds)

    def branch_name(self) -> str:
        """Returns the seed."""
        return f"seed{self.branch_data}"

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the model inputs."""
        return {"inputs": PreprocessTask.req(self)}

    def requires(self) -> PreprocessTask:
        """Returns the model inputs."""
        return PreprocessTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the training depends on: model and training settings, its seed, the model inputs."""
        identity = super().identity()
        identity["settings"]["training"].pop("seeds", None)
        return {**identity, "seed": self.branch_data, "inputs": self.requires().digest}

    def run(self) -> None:
        """Trains with the branch's seed."""
        from honeyguide.training.progress import TerminalProgress
        from honeyguide.training.run import train

        settings = self.experiment.settings
        with self.write_output() as folder:
            train(
                self.input().folder,
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=settings.training,
                seed=self.branch_data,
                provenance=self.provenance(),
                progress=TerminalProgress(),
            )
