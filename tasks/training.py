"""Train a model."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law
import luigi

from tasks.base import HoneyguideTask
from tasks.go_on_later import going_on_later
from tasks.job_resources import JobResources
from tasks.launch import run_job
from tasks.nodes import check_resources, nodes_here
from tasks.preprocessing import PreprocessTask
from tasks.remote import RemoteWorkflow
from tasks.start import base_overrides, content_digest, start_file
from tasks.training_job import TrainingJob

if TYPE_CHECKING:
    from honeyguide.scans.study import TrialReference


class TrainingParameters(HoneyguideTask):
    """Parameters of all tasks from the training on; each flag is a short form of an override."""

    training_version = luigi.Parameter(
        default="v1", description="your tag for the training, part of its output paths; default: v1"
    )
    model_name = luigi.Parameter(
        default=law.NO_STR,
        description="a family or a preset of one, short for --set model.family=NAME; default: the config's",
    )
    epochs = luigi.IntParameter(
        default=law.NO_INT, description="short for --set training.epochs=N; default: the config's"
    )
    batch_size = luigi.IntParameter(
        default=law.NO_INT, description="short for --set training.batch_size=N; default: the config's"
    )
    loss_weighting = luigi.BoolParameter(
        description="short for --set training.loss_weighting=true: reweighting by weights, not by sampling",
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
        "loss_weighting": ("training.loss_weighting", False),
        "n_threads": ("training.num_threads", law.NO_INT),
    }

    @property
    def training_branches(self) -> list[tuple[int, int | None]]:
        """Seed and fold of every training; the fold is None where there are none."""
        settings = self.experiment.settings.training
        folds = [None] if settings.folds is None else range(settings.folds)
        return [(seed, fold) for seed in settings.seeds for fold in folds]

    def training_name(self, index: int) -> str:
        """Returns what people call the training of that number."""
        seed, fold = self.training_branches[index]
        return f"seed{seed}" if fold is None else f"seed{seed}-fold{fold}"

    def path_parts(self) -> tuple[str, ...]:
        """Returns the experiment's name and the training's tag."""
        return (self.experiment.name, self.training_version)


class TrainingTask(TrainingParameters, RemoteWorkflow):
    """Train the model on the training split; a branch is a seed, and a fold where there are folds.

        law run TrainingTask --config quickstart --epochs 20
        law run TrainingTask --config quickstart --set "training.seeds=[1,2,3],model.latent_dim=8"
        law run TrainingTask --config quickstart --set "training.start={experiment: quickstart, freeze: [encoder]}"

    Outputs: ``best.safetensors`` (lowest validation loss), ``last.safetensors`` and ``initial.safetensors`` (before the
    first step), ``latent_gaussian.json`` (of an anomaly detector: where the background lies in the latent space),
    ``model.json`` (what to build), ``metrics.json`` (every term at every epoch), ``provenance.json``, ``tensorboard/``.

    With ``training.processes`` above 1, torchrun starts that many processes, on this node or spread over several: those
    of the Slurm job, or with ``--nodes`` and ``--rendezvous`` any others, which each run
    ``python -m tasks.launch <output>.checkpoint/job.json --node 1 ...``.

    A training that is killed, or ends itself at SIGTERM, leaves its state in a folder beside the output, and the next
    run goes on from there; a job that is told to stop goes back into the queue.
    """

    rendezvous = luigi.Parameter(
        default="",
        significant=False,
        description="host:port of the first node, where the processes of several nodes meet; default: in a Slurm job "
        "that node and a free port, else none",
    )

    own_sections = ("model", "training")
    result_version = 3
    seconds_to_stop = 120

    @functools.cached_property
    def job_resources(self) -> JobResources:
        """What a job asks for: no GPU where none is to be used."""
        resources: JobResources = super().job_resources
        on_cpu = self.experiment.settings.training.device == "cpu"
        return dataclasses.replace(resources, gpus=0) if on_cpu else resources

    def create_branch_map(self) -> list[Any]:
        """Returns seeds and folds."""
        return self.training_branches

    def branch_name(self) -> str:
        """Returns the seed, and the fold where there are folds."""
        return self.training_name(self.branch)

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the model inputs, and the trainings that these begin with, if any.

        Raises:
            ConfigError: Jobs of these resources can't train with as many processes as the settings say.
        """
        if self.workflow in ("slurm", "htcondor"):
            processes = self.experiment.settings.training.processes
            check_resources(self.job_resources, scheduler=self.workflow, processes=processes)
        seeds = dict.fromkeys(seed for seed, _ in self.training_branches)
        bases = [base for base in map(self.base, seeds) if base is not None]
        return {"inputs": PreprocessTask.req(self), "start": bases}

    def requires(self) -> dict[str, HoneyguideTask]:
        """Returns the model inputs, and the training that this one begins with, if any."""
        base = self.base(self.branch_data[0])
        return {"inputs": PreprocessTask.req(self)} | ({} if base is None else {"start": base})

    def base(self, seed: int) -> TrainingTask | None:
        """Returns the training that the one of this seed begins with; None where it is no other experiment's."""
        start = self.experiment.settings.training.start
        if start is None or start.experiment is None:
            return None
        base: TrainingTask = TrainingTask.req(
            self,
            config=start.experiment,
            set=base_overrides(start, seed),
            dataset_version=start.dataset_version or self.dataset_version,
            training_version=start.version,
            branch=0,
        )
        return base

    def identity(self) -> dict[str, Any]:
        """Returns what the training depends on.

        Model and training settings, its seed and fold, the model inputs, the content of the weights that it begins
        with.
        """
        identity, required = super().identity(), self.requires()
        training = identity["settings"]["training"]
        training.pop("seeds", None)
        if "learning_rates" in training:  # the first that fits counts
            training["learning_rates"] = list(training["learning_rates"].items())
        start = self.experiment.settings.training.start
        if start is not None:
            weights = required["start"].digest if "start" in required else content_digest(start_file(start))
            training["start"] = {"weights": weights, "exclude": start.exclude, "freeze": start.freeze}
        seed, fold = self.branch_data
        part = {} if fold is None else {"fold": fold}
        return {**identity, "seed": seed, **part, "inputs": required["inputs"].digest}

    def job(self, folder: Path) -> TrainingJob:
        """Returns the branch's training, which writes to ``folder``."""
        settings, (seed, fold), inputs = self.experiment.settings, self.branch_data, self.input()
        training = settings.training
        if training.start is not None:
            path = inputs["start"].folder if "start" in inputs else start_file(training.start)
            training = training.model_copy(update={"start": training.start.at(path)})
        return TrainingJob(
            inputs=inputs["inputs"].folder,
            fold=None if fold is None else (fold, settings.training.folds),
            folder=folder,
            checkpoint=self.output().checkpoint,
            model=settings.model.model_dump(mode="json"),
            training=training,
            seed=seed,
            provenance=self.provenance(),
        )

    def run(self) -> None:
        """Trains with the branch's seed, in one process or in several."""
        self.train()

    def train(self, trial: TrialReference | None = None) -> None:
        """Trains with the branch's seed, watched by a trial of a study if there is one."""
        processes, checkpoint = self.experiment.settings.training.processes, self.output().checkpoint
        nodes = nodes_here(processes, count=self.nodes, rendezvous=self.rendezvous)
        with self.write_output() as folder, going_on_later(checkpoint):
            run_job(self.job(folder).model_copy(update={"trial": trial}), nodes)
        shutil.rmtree(checkpoint, ignore_errors=True)
