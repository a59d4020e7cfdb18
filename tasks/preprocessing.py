"""The event store into model inputs."""

from __future__ import annotations

from typing import Any, ClassVar

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask


class PreprocessTask(HoneyguideTask):
    """Select, order and truncate objects, split by event hash, fit scalers on the training split, write model inputs.

        law run PreprocessTask --config quickstart
        law run PreprocessTask --config quickstart --set preprocess.num_jets=2,preprocess.num_constituents=30

    Outputs: ``<sample>/<split>.h5`` (memory-mapped arrays), ``spec.json`` (names, shapes, units) and ``scalers.json``.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess")
    own_sections = ("preprocess",)
    result_version = 1

    def requires(self) -> DatasetConstructorTask:
        """Returns the whole dataset."""
        return DatasetConstructorTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the inputs depend on: the settings and the dataset's files, however they were chunked."""
        return {**super().identity(), "dataset": self.requires().dataset_identity()}

    def run(self) -> None:
        """Writes the model inputs."""
        from honeyguide.preprocess.pipeline import preprocess

        settings, dataset = self.experiment.settings, self.requires()
        with self.write_output() as folder:
            preprocess(
                dataset.shards(),
                folder,
                samples=[sample.info(name) for name, sample in settings.dataset.samples.items()],
                settings=settings.preprocess,
                progress=self.progress("preprocessing (fit, then write), events"),
            )
