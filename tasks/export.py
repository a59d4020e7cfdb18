"""Export trained taggers."""

from __future__ import annotations

import functools
import tomllib
from typing import Any, ClassVar

import law

import models
from honeyguide.errors import ConfigError
from tasks.base import ROOT, git_state
from tasks.preprocessing import PreprocessTask
from tasks.training import TrainingParameters, TrainingTask


class OfTaggers(TrainingParameters, law.LocalWorkflow):  # type: ignore[misc]
    """What is done with a trained tagger; a branch is a training."""

    exclude_index = True

    def create_branch_map(self) -> list[int]:
        """Returns the numbers of all trainings."""
        return list(range(len(self.training_branches)))

    def branch_name(self) -> str:
        """Returns the training."""
        return self.training_name(self.branch_data)

    def workflow_requires(self) -> dict[str, Any]:
        """Returns all trainings and the model inputs."""
        self.check_model()
        return {"training": TrainingTask.req(self, branch=-1), "inputs": PreprocessTask.req(self)}

    def requires(self) -> dict[str, Any]:
        """Returns the branch's training and the model inputs."""
        self.check_model()
        return {"training": TrainingTask.req(self, branch=self.branch_data), "inputs": PreprocessTask.req(self)}

    def check_model(self) -> None:
        """Raises a ConfigError where the model is none that this can be done with."""
        if not self.experiment.is_tagging:
            raise ConfigError(
                "this is done with taggers, and this model has no classes",
                where=self.config,
                got=f"model.family: {self.experiment.settings.model.model_dump()['family']}",
            )

    def identity(self) -> dict[str, Any]:
        """Returns what the result depends on: the settings and the training, whose digest covers the inputs."""
        return {**super().identity(), "training": self.requires()["training"].digest}


class ExportTask(OfTaggers):
    """Export a trained tagger to ONNX, for onnxruntime in any language; a branch is a training.

        law run ExportTask --config quickstart_tagging
        law run ExportTask --config quickstart_tagging --set export.tolerance=1e-5,export.weights=last

    Outputs: ``model.onnx`` (any number of rows, and of objects), ``inputs.json`` (names, shapes, columns and scaling of
    its inputs) and ``parity.json``: how far its outputs in onnxruntime are from those of the trained model on jets of
    the test split. A difference above ``export.tolerance`` is an error.
    """

    sections: ClassVar[tuple[str, ...]] = (*TrainingParameters.sections, "export")
    own_sections = ("export",)
    result_version = 1

    def check_model(self) -> None:
        """Raises a ConfigError for anomaly detectors; a regression without classes is exported like a tagger."""
        if not getattr(self.experiment.settings.model, "regression", {}):
            super().check_model()

    def about(self) -> dict[str, Any]:
        """Returns what led here, for the file."""
        return {
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "git": git_state(),
            "digest": self.digest,
            "training": self.requires()["training"].digest,
            "experiment": self.experiment.name,
            "preprocess": self.experiment.settings.preprocess.model_dump(mode="json"),
        }

    def run(self) -> None:
        """Exports, and compares."""
        from honeyguide.export.onnx import export_tagger

        settings, inputs = self.experiment.settings, self.input()
        with self.write_output() as folder:
            parity, cost = export_tagger(
                inputs["training"].folder,
                inputs["inputs"].folder,
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=settings.export,
                about=self.about(),
            )
        self.publish_message(f"{cost.line()}\n{parity.line()}\nmodel: {self.output().path}/model.onnx")
