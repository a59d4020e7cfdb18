"""What a model costs."""

from __future__ import annotations

from typing import Any, ClassVar

import models
from tasks.preprocessing import PreprocessTask
from tasks.training import TrainingParameters


class ModelSummaryTask(TrainingParameters):
    """Say what a model costs before it is trained: inputs, parameters and operations, part by part.

        law run ModelSummaryTask --config quickstart_tagging
        law run ModelSummaryTask --config quickstart_tagging --model-name MLP

    Output: ``model_summary.json``; the table is printed, too.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess", "model")
    own_sections = ("model",)
    result_version = 1

    def requires(self) -> PreprocessTask:
        """Returns the model inputs, which say what the model is to take."""
        return PreprocessTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the model depends on: its settings, and the model inputs."""
        return {**super().identity(), "inputs": self.requires().digest}

    def run(self) -> None:
        """Builds the model and counts."""
        from honeyguide.data.model_inputs import read_spec
        from honeyguide.nn.cost import cost

        spec = read_spec(self.input().folder)
        with self.write_output() as folder:
            found = cost(models.build(self.experiment.settings.model, spec))
            (folder / "model_summary.json").write_text(found.to_json())
        self.publish_message(found.table())
