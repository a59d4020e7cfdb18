"""Several trainings of one model as one."""

from __future__ import annotations

from typing import Any, ClassVar

from honeyguide.errors import ConfigError
from tasks.inference import InferenceTask
from tasks.preprocessing import TestDatasetParameters
from tasks.roc import class_truths, score_files
from tasks.training import TrainingParameters


class EnsembleTask(TestDatasetParameters, TrainingParameters):
    """Average the scores of all seeds and folds: a mean and a spread for every test event, and the ROC curve of means.

        law run EnsembleTask --config quickstart --set "training.seeds=[1,2,3,4,5]"
        law run EnsembleTask --config quickstart_tagging --set "training.seeds=[1,2,3]" --workers 2

    Outputs: ``scores/<sample>/scores.h5`` and ``scores.root``, as those of InferenceTask, with the mean of each score
    under its name, ``spread_<name>`` (standard deviation over the trainings) and ``error_<name>`` (of the mean), and
    the latent vectors of all trainings, side by side; the files of ROCCurveTask for the mean and for one training.
    """

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "roc", "tagging")
    result_version = 1

    def requires(self) -> dict[str, Any]:
        """Returns the scores of all trainings, and the model inputs that were scored."""
        if len(self.training_branches) < 2:
            raise ConfigError(
                "an ensemble has two trainings or more",
                where="training.seeds",
                got=list(self.experiment.settings.training.seeds),
                hint="--set training.seeds=[1,2,3]",
            )
        return {"scores": InferenceTask.req(self), "inputs": self.inputs()}

    def identity(self) -> dict[str, Any]:
        """Returns what mean and curves depend on: the settings of the curves, and the scores of every training."""
        from honeyguide.settings import significant_values

        section = "tagging" if self.experiment.is_tagging else "roc"
        scores = self.requires()["scores"].get_branch_tasks().values()
        return {
            **super().identity(),
            "settings": {section: significant_values(getattr(self.experiment.settings, section))},
            "scores": [branch.digest for branch in scores],
        }

    def run(self) -> None:
        """Averages, computes curves and draws them."""
        from honeyguide.data.model_inputs import read_spec
        from honeyguide.evaluation.ensemble import evaluate_ensemble

        settings, required = self.experiment.settings, self.requires()
        has_curves = getattr(settings.model, "classify", True)
        curves = settings.tagging if self.experiment.is_tagging else settings.roc
        with self.write_output() as folder:
            text = evaluate_ensemble(
                score_files({"": required["scores"]})[""],
                folder,
                spec=read_spec(required["inputs"].output().folder),
                settings=curves if has_curves else None,
                members=class_truths(required["scores"]) if self.experiment.is_tagging else None,
                root=settings.inference.root,
            )
        self.publish_message(f"{text}\nscores, figures and numbers: {self.output().path}")
