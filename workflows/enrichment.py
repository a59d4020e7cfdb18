"""The study of background enrichment."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tasks.inference import InferenceTask
from tasks.roc import ROCCurveTask, score_files
from tasks.training import TrainingParameters


class EnrichmentStudyTask(TrainingParameters):
    """Compare variants of a training: who is blind to the generator, at what reconstruction, and who finds signals.

        law run EnrichmentStudyTask --config enrichment
        law run EnrichmentStudyTask --config enrichment --set "training.seeds=[1,2],training.epochs=10" --workers 2

    The variants are in ``enrichment.variants`` of the config, each with all of ``training.seeds``. Outputs:
    ``enrichment.json`` and ``enrichment.csv`` (every number with its errors), figures as PNG and PDF.
    """

    sections: ClassVar[tuple[str, ...]] = (*ROCCurveTask.sections, "enrichment")
    own_sections = ("roc", "enrichment")
    result_version = 1

    def requires(self) -> dict[str, InferenceTask]:
        """Returns the scores of every variant."""
        variants = self.experiment.settings.enrichment.variants
        return {label: InferenceTask.req(self, set=self._overrides(changes)) for label, changes in variants.items()}

    def _overrides(self, changes: dict[str, Any]) -> tuple[str, ...]:
        # what the variant is comes before what all of them have in common
        own = {key: f"{key}={json.dumps(value)}" for key, value in changes.items()}
        shared = {item.partition("=")[0]: item for item in self.set}
        return tuple((shared | own).values())

    def identity(self) -> dict[str, Any]:
        """Returns what the table depends on: the settings, and the scores of every variant."""
        scores = {
            label: [branch.digest for branch in task.get_branch_tasks().values()]
            for label, task in self.requires().items()
        }
        return {**super().identity(), "scores": scores}

    def run(self) -> None:
        """Compares, and draws."""
        from honeyguide.evaluation.enrichment import compare_variants, summary

        settings = self.experiment.settings
        with self.write_output() as folder:
            rows = compare_variants(
                score_files(self.requires()), folder, settings=settings.enrichment, roc=settings.roc
            )
        table = summary(rows, score=settings.enrichment.score)
        self.publish_message(f"{table}\nfigures and numbers: {self.output().path}")
