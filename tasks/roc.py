"""ROC curves of anomaly scores and of taggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from honeyguide.errors import ConfigError
from tasks.inference import InferenceTask
from tasks.preprocessing import TestDatasetParameters
from tasks.training import TrainingParameters


class ROCCurveTask(TestDatasetParameters, TrainingParameters):
    """Draw ROC curves with their uncertainties, per signal point and merged, and compare trainings.

        law run ROCCurveTask --config quickstart
        law run ROCCurveTask --config quickstart --overlay "dim 2: model.latent_dim=2; BEAD: bead"
        law run ROCCurveTask --config quickstart_tagging --overlay "4 epochs: training.epochs=4"

    Outputs: ``roc.json`` (AUC, efficiencies at working points, significance improvement, all with intervals),
    ``roc.h5`` (the curves), figures as PNG and PDF.

    Of a tagger the curves are per discriminator, process and window in pt and eta (section ``tagging``); there are
    ``confusion.json`` and figures of the confusion matrix and of all class probabilities and discriminators, too.
    """

    label = luigi.Parameter(
        default=law.NO_STR, description="name of this training in legends; default: the config's name"
    )
    overlay = luigi.Parameter(
        default=law.NO_STR,
        description="further trainings to compare, 'LABEL: [CONFIG,] [section.key=value, ...]' with semicolons "
        "between them; default: none",
    )

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "roc", "tagging")
    own_sections = ("roc",)
    result_version = 1

    def trainings(self) -> Iterator[tuple[str, InferenceTask]]:
        """Returns (label, scores) of every training to draw."""
        yield (self.experiment.name if self.label == law.NO_STR else self.label), InferenceTask.req(self)
        overlay = "" if self.overlay == law.NO_STR else self.overlay
        for entry in filter(None, (item.strip() for item in overlay.split(";"))):
            label, separator, text = entry.partition(":")
            if not separator:
                raise ConfigError("an overlay is 'LABEL: ...'", where="--overlay", got=entry)
            items = [item.strip() for item in text.split(",", 1)]
            config = items.pop(0) if "=" not in items[0] else self.config
            own = (*self.set, *InferenceTask.set.parse(",".join(items))) if config == self.config else tuple(items)
            yield label.strip(), InferenceTask.req(self, config=config, set=_latest(own))

    def requires(self) -> dict[str, InferenceTask]:
        """Returns the scores of every training."""
        if getattr(self.experiment.settings.model, "classify", True) is False:
            raise ConfigError(
                "a model without classes has no ROC curves", where=self.config, hint="RegressionTask evaluates it"
            )
        requirements: dict[str, InferenceTask] = {}
        for label, task in self.trainings():
            if label in requirements:
                raise ConfigError("two trainings have one label", where="--overlay", got=label)
            if task.experiment.is_tagging != self.experiment.is_tagging:
                raise ConfigError("taggers and anomaly scores have no common figure", where="--overlay", got=label)
            requirements[label] = task
        return requirements

    def identity(self) -> dict[str, Any]:
        """Returns what the curves depend on: the settings, and the scores of every training."""
        scores = {
            label: [branch.digest for branch in task.get_branch_tasks().values()]
            for label, task in self.requires().items()
        }
        identity = {**super().identity(), "scores": scores}
        if self.experiment.is_tagging:
            from honeyguide.settings import significant_values

            identity["settings"] = {"tagging": significant_values(self.experiment.settings.tagging)}
        return identity

    def run(self) -> None:
        """Computes the curves and draws them."""
        from honeyguide.evaluation.run import evaluate
        from honeyguide.evaluation.summary import summary
        from honeyguide.evaluation.tagging_run import evaluate_taggers, tagging_summary

        settings, tasks = self.experiment.settings, self.requires()
        with self.write_output() as folder:
            if self.experiment.is_tagging:
                members = {label: class_truths(task) for label, task in tasks.items()}
                taggers = evaluate_taggers(score_files(tasks), folder, settings=settings.tagging, members=members)
                text = tagging_summary(taggers)
            else:
                text = summary(evaluate(score_files(tasks), folder, settings=settings.roc))
        self.publish_message(f"{text}\nfigures and numbers: {self.output().path}")


def class_truths(task: InferenceTask) -> dict[str, tuple[str, ...]]:
    """Returns the truths of each class of the task's tagger."""
    classes: dict[str, tuple[str, ...]] = task.experiment.settings.model.model_dump()["classes"]
    return classes


def score_files(tasks: Mapping[str, InferenceTask]) -> dict[str, dict[int, dict[str, Path]]]:
    """Returns the score files of each task's trainings: label -> seed -> sample -> file."""
    files: dict[str, dict[int, dict[str, Path]]] = {}
    for label, task in tasks.items():
        # folds have no names of their own here: they are numbered with the seeds, one after the other
        seeds = [n if fold is not None else seed for n, (seed, fold) in enumerate(task.training_branches)]
        files[label] = {seed: {} for seed in seeds}
        for branch in task.get_branch_tasks().values():
            index, sample = branch.branch_data
            files[label][seeds[index]][sample] = branch.output().folder / "scores.h5"
    return files


def _latest(overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the overrides with the last of each key."""
    return tuple({item.partition("=")[0]: item for item in overrides}.values())
