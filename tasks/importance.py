"""Which features a tagger uses."""

from __future__ import annotations

import functools
from typing import ClassVar

import models
from tasks.export import OfTaggers
from tasks.training import TrainingParameters


class FeatureImportanceTask(OfTaggers):
    """Find out which features a tagger uses, by permuting them over the test jets; a branch is a training.

        law run FeatureImportanceTask --config quickstart_tagging
        law run FeatureImportanceTask --config quickstart_tagging --set importance.rows=5000,importance.repeats=10

    Outputs: ``importance.json`` (drop in AUC of each feature, of the features that say the same, and of whole sets, for
    each discriminator, with errors), ``importance.h5`` (each repeat), figures as PNG and PDF.
    """

    sections: ClassVar[tuple[str, ...]] = (*TrainingParameters.sections, "tagging", "importance")
    own_sections = ("importance", "tagging")
    result_version = 1

    def run(self) -> None:
        """Permutes, and draws."""
        from honeyguide.evaluation.importance import feature_importance, summary

        settings, inputs = self.experiment.settings, self.input()
        with self.write_output() as folder:
            found = feature_importance(
                inputs["training"].folder,
                inputs["inputs"].folder,
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=(settings.importance, settings.tagging),
                members=settings.model.model_dump()["classes"],
                progress=self.progress(f"{self.branch_name()}: groups of features"),
            )
        self.publish_message(f"{summary(found)}\nfigures and numbers: {self.output().path}")
