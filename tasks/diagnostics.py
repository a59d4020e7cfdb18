"""Look at a training from all sides."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law

import models
from tasks.inference import InferenceTask
from tasks.preprocessing import PreprocessTask
from tasks.training import TrainingParameters, TrainingTask

if TYPE_CHECKING:
    from honeyguide.diagnostics.sources import Sources


class DiagnosticsTask(TrainingParameters, law.LocalWorkflow):  # type: ignore[misc]
    """Look at a training from all sides, on one page; a branch is a training.

        law run DiagnosticsTask --config quickstart
        law run DiagnosticsTask --config quickstart --set "diagnostics.projections=[pca,tsne,umap]"

    Outputs: ``index.html`` (the page, in one file), ``diagnostics.json`` (the numbers) and ``plots/`` (PNG and PDF).
    """

    sections: ClassVar[tuple[str, ...]] = (*InferenceTask.sections, "diagnostics")
    own_sections = ("diagnostics",)
    result_version = 1

    def create_branch_map(self) -> list[int]:
        """Returns the numbers of all trainings."""
        return list(range(len(self.training_branches)))

    def branch_name(self) -> str:
        """Returns the training."""
        return self.training_name(self.branch_data)

    def workflow_requires(self) -> dict[str, Any]:
        """Returns all trainings, their scores, and the model inputs."""
        return {
            "training": TrainingTask.req(self, branch=-1),
            "inference": InferenceTask.req(self, branch=-1),
            "inputs": PreprocessTask.req(self),
        }

    def requires(self) -> dict[str, Any]:
        """Returns the branch's training, its scores by sample, and the model inputs."""
        scores = InferenceTask.req(self, branch=-1).get_branch_tasks().values()
        mine = {task.branch_data[1]: task for task in scores if task.branch_data[0] == self.branch_data}
        training = TrainingTask.req(self, branch=self.branch_data)
        return {"training": training, "scores": mine, "inputs": PreprocessTask.req(self)}

    def identity(self) -> dict[str, Any]:
        """Returns what the page depends on: the settings and the scores, whose digests cover training and inputs."""
        scores = {sample: task.digest for sample, task in self.requires()["scores"].items()}
        return {**super().identity(), "training": self.requires()["training"].digest, "scores": scores}

    def stages(self) -> dict[str, Path | Sequence[Path]]:
        """Returns the output folders of all tasks that led here, by the task's name."""
        required = self.requires()
        dataset = required["inputs"].requires()
        stages: dict[str, Path | Sequence[Path]] = {}
        generate = dataset.workflow_requires().get("generate")
        if generate is not None:
            stages["GenerateEventsTask"] = [task.output().folder for task in generate.get_branch_tasks().values()]
        stages["DatasetConstructorTask"] = [task.output().folder for task in dataset.get_branch_tasks().values()]
        stages["PreprocessTask"] = required["inputs"].output().folder
        stages["TrainingTask"] = required["training"].output().folder
        stages["InferenceTask"] = [task.output().folder for task in required["scores"].values()]
        return stages

    def looked_at(self) -> Sources:
        """Returns where everything is."""
        from honeyguide.diagnostics.sources import Sources

        required = self.requires()
        return Sources(
            training=required["training"].output().folder,
            inputs=required["inputs"].output().folder,
            scores={sample: task.output().folder / "scores.h5" for sample, task in required["scores"].items()},
            stages=self.stages(),
            label=f"{self.experiment.name}, {self.branch_name()}",
        )

    def run(self) -> None:
        """Writes the page."""
        from honeyguide.diagnostics.run import diagnose

        settings = self.experiment.settings
        with self.write_output() as folder:
            sections = diagnose(
                self.looked_at(),
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=settings.diagnostics,
                progress=self.progress("diagnostics: sections"),
            )
        warnings = [f"\n{section.title}: {warning}" for section in sections for warning in section.warnings]
        self.publish_message(f"page: {self.output().path}/index.html{''.join(warnings)}")
