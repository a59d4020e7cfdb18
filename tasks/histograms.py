"""Histograms of what goes in."""

from __future__ import annotations

from typing import Any, ClassVar

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.preprocessing import PreprocessTask


class InputHistogrammerTask(HoneyguideTask):
    """Fill histograms of every feature, per sample, with and without event weights.

        law run InputHistogrammerTask --config quickstart
        law run InputHistogrammerTask --config quickstart --set histograms.num_bins=80
        law run InputHistogrammerTask --config quickstart --set histograms.source=test

    Of the stored features, or of the scaled columns that the model sees. Output: ``histograms.h5``, one binning for all
    samples, with under- and overflow and sums of squared weights.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess", "histograms")
    own_sections = ("histograms",)
    result_version = 1

    def requires(self) -> DatasetConstructorTask | PreprocessTask:
        """Returns the whole dataset, or the model inputs."""
        of_store = self.experiment.settings.histograms.source == "store"
        return DatasetConstructorTask.req(self) if of_store else PreprocessTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the histograms depend on: the settings, and the dataset's files or the model inputs."""
        source = self.requires()
        of_store = isinstance(source, DatasetConstructorTask)
        return {**super().identity(), "source": source.dataset_identity() if of_store else source.digest}

    def run(self) -> None:
        """Fills the histograms."""
        from honeyguide.evaluation.histograms import fill_histograms, fill_input_histograms

        source, settings = self.requires(), self.experiment.settings.histograms
        with self.write_output() as folder:
            if isinstance(source, DatasetConstructorTask):
                fill_histograms(source.shards(), folder, settings=settings)
            else:
                fill_input_histograms(source.output().folder, settings.source, folder, settings=settings)


class HistogramPlotterTask(HoneyguideTask):
    """Draw the histograms of the inputs: a figure per feature, all samples on it.

        law run HistogramPlotterTask --config quickstart

    Outputs: PNG and PDF per feature.
    """

    sections: ClassVar[tuple[str, ...]] = InputHistogrammerTask.sections
    own_sections = ("histograms",)
    result_version = 1

    def requires(self) -> InputHistogrammerTask:
        """Returns the histograms."""
        return InputHistogrammerTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the figures depend on."""
        return {**super().identity(), "histograms": self.requires().digest}

    def run(self) -> None:
        """Draws the figures."""
        from honeyguide.plotting.histograms import plot_histograms

        with self.write_output() as folder:
            plot_histograms(self.input().folder / "histograms.h5", folder, settings=self.experiment.settings.histograms)
        self.publish_message(f"figures: {self.output().path}")
