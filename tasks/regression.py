"""Evaluation of predicted targets."""

from __future__ import annotations

from typing import Any, ClassVar

import law
import luigi

from honeyguide.errors import ConfigError
from tasks.inference import InferenceTask
from tasks.preprocessing import TestDatasetParameters
from tasks.roc import score_files
from tasks.training import TrainingParameters


class RegressionTask(TestDatasetParameters, TrainingParameters):
    """Evaluate predicted targets: bias, resolution and coverage of quantiles against pt, for each truth.

        law run RegressionTask --config quickstart_tagging --set "preprocess.event_features=[{name: pt, scaler: log}], \
            preprocess.targets=[{name: mass, scaler: standard}],model.regression={mass: {quantiles: [0.16, 0.5, 0.84]}}"

    Outputs: ``regression.json`` and ``regression.h5`` (all numbers, with intervals, and distributions of the residual),
    figures (PNG, PDF).
    """

    label = luigi.Parameter(default=law.NO_STR, description="name of the training in figures; default: the config's")

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "regression")
    own_sections = ("regression",)
    result_version = 1

    @property
    def training_label(self) -> str:
        """The training's name in figures."""
        return str(self.experiment.name if self.label == law.NO_STR else self.label)

    def requires(self) -> InferenceTask:
        """Returns the scores."""
        if not getattr(self.experiment.settings.model, "regression", {}):
            raise ConfigError(
                "this model predicts no targets",
                where=self.config,
                got=f"model.family: {self.experiment.settings.model.model_dump()['family']}",
                hint="model.regression of a tagger names targets: {mass: {loss: huber}}",
            )
        return InferenceTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the numbers depend on: the settings, the scores and the training's name."""
        scores = [branch.digest for branch in self.requires().get_branch_tasks().values()]
        return {**super().identity(), "scores": scores, "label": self.training_label}

    def run(self) -> None:
        """Computes the numbers and draws them."""
        from honeyguide.evaluation.regression_run import evaluate_predictions, regression_summary

        name, scores = self.training_label, self.requires()
        with self.write_output() as folder:
            results = evaluate_predictions(
                score_files({name: scores})[name], folder, settings=self.experiment.settings.regression, name=name
            )
        self.publish_message(f"{regression_summary(results)}\nfigures and numbers: {self.output().path}")
