"""Several taggers on the same jets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import law

from honeyguide.errors import ConfigError
from tasks.inference import InferenceTask
from tasks.preprocessing import TestDatasetParameters
from tasks.roc import class_truths, score_files
from tasks.training import TrainingParameters


class CompareTaggersTask(TestDatasetParameters, TrainingParameters):
    """Compare taggers of several experiments on the same test jets, and with plain variables.

        law run CompareTaggersTask --configs quickstart_tagging,mlp.yaml
        law run CompareTaggersTask --configs quickstart_tagging,mlp.yaml --set "tagging.baselines={hardness: pt}"

    What is evaluated stands in the first one's section ``tagging``. Outputs: ``comparison.json`` and ``comparison.md``
    (AUC, background rejection at 30 and 50 % signal efficiency, and the differences of the AUCs with their errors and
    p-values), and those of ROCCurveTask, with all taggers in each figure.
    """

    configs = law.CSVParameter(description="experiments to compare, with commas between them; no default")

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "tagging")
    own_sections = ("tagging",)
    result_version = 1

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters with the first experiment as that of the task."""
        paths = [Path(name).expanduser() for name in params["configs"]]
        names = [str(path.absolute()) if path.suffix in (".yaml", ".yml") else str(path) for path in paths]
        if len(set(names)) < 2 or len(set(names)) < len(names):
            raise ConfigError("a comparison is one of two or more experiments", where="--configs", got=", ".join(names))
        return super().modify_param_values({**params, "configs": tuple(names), "config": names[0]})

    def requires(self) -> dict[str, InferenceTask]:
        """Returns the scores of every experiment, by its name."""
        requirements: dict[str, InferenceTask] = {}
        for config in self.configs:
            task = InferenceTask.req(self, config=config)
            if not task.experiment.is_tagging:
                raise ConfigError("this is done with taggers, and this model has no classes", where=config)
            if task.experiment.name in requirements:
                raise ConfigError("two experiments have one name", where="--configs", got=task.experiment.name)
            requirements[task.experiment.name] = task
        return requirements

    def identity(self) -> dict[str, Any]:
        """Returns what the comparison depends on: the settings, and the scores of every experiment."""
        scores = {
            label: [branch.digest for branch in task.get_branch_tasks().values()]
            for label, task in self.requires().items()
        }
        return {**super().identity(), "scores": scores, "order": list(scores)}

    def run(self) -> None:
        """Compares, and draws."""
        from honeyguide.evaluation.comparison import compare_taggers

        tasks = self.requires()
        with self.write_output() as folder:
            members = {label: class_truths(task) for label, task in tasks.items()}
            found = compare_taggers(
                score_files(tasks), folder, settings=self.experiment.settings.tagging, members=members
            )
        self.publish_message(f"{found.markdown()}\nfigures and numbers: {self.output().path}")
