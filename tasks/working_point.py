"""Working points of taggers."""

from __future__ import annotations

from typing import Any, ClassVar

import law
import luigi

from honeyguide.errors import ConfigError
from tasks.inference import InferenceTask
from tasks.preprocessing import TestDatasetParameters
from tasks.roc import class_truths, score_files
from tasks.training import TrainingParameters


class WorkingPointTask(TestDatasetParameters, TrainingParameters):
    """Find the working points of a tagger: exact thresholds at given mis-identification efficiencies.

        law run WorkingPointTask --config quickstart_tagging
        law run WorkingPointTask --config quickstart_tagging --set "tagging.bins.pt=[20,50,100,200]"

    Loose, medium, tight and extra-tight points of one discriminator, and points in the plane of two of them, with the
    efficiency of every truth, also in bins of pt and eta. Outputs: ``working_points.json``,
    ``corrections_seed<seed>.json`` for correctionlib, figures of the efficiencies and of the plane (PNG, PDF).
    """

    label = luigi.Parameter(default=law.NO_STR, description="name of the tagger in figures; default: the config's name")

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "tagging")
    own_sections = ("tagging",)
    result_version = 1

    @property
    def tagger(self) -> str:
        """The tagger's name."""
        return str(self.experiment.name if self.label == law.NO_STR else self.label)

    def requires(self) -> InferenceTask:
        """Returns the scores."""
        if not self.experiment.is_tagging:
            raise ConfigError(
                "working points are those of a tagger, and this model has no classes",
                where=self.config,
                got=f"model.family: {self.experiment.settings.model.model_dump()['family']}",
                hint="ROCCurveTask gives the efficiencies of anomaly scores at roc.background_efficiencies",
            )
        return InferenceTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the working points depend on: the settings, the scores and the tagger's name."""
        scores = [branch.digest for branch in self.requires().get_branch_tasks().values()]
        return {**super().identity(), "scores": scores, "tagger": self.tagger}

    def run(self) -> None:
        """Finds the working points and draws them."""
        from honeyguide.evaluation.tagging_points_run import evaluate_working_points, points_summary

        scores = self.requires()
        with self.write_output() as folder:
            results = evaluate_working_points(
                score_files({self.tagger: scores})[self.tagger],
                folder,
                settings=self.experiment.settings.tagging,
                name=self.tagger,
                members=class_truths(scores),
            )
        self.publish_message(f"{points_summary(results)}\nfigures and numbers: {self.output().path}")
