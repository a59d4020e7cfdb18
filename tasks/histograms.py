"""Histograms of what goes in."""

from __future__ import annotations

from typing import Any, ClassVar

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask


class InputHistogrammerTask(HoneyguideTask):
    """Fill histograms of every stored feature, per sample, with and without event weights.

        law run InputHistogrammerTask --config quickstart
        law run InputHistogrammerTask --config quickstart --set histograms.num_bins=80

    Output: ``histograms.h5``, one binning for all samples, with under- and overflow and sums of squared weights.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "histograms")
    own_sections = ("histograms",)
    result_version = 1

    def requires(self) -> DatasetConstructorTask:
        """Returns the whole dataset."""
        return DatasetConstructorTask.req(self)

    def identity(self) -> dict[str, Any]:
        """Returns what the histograms depend on: the settings and the dataset's files."""
        return {**super().identity(), "dataset": self.requires().dataset_identity()}

    def run(self) -> None:
        """Fills the histograms."""
        from honeyguide.evaluation.histograms import fill_histograms

        with self.write_output() as folder:
            fill_histograms(self.requires().shards(), folder, settings=self.experiment.settings.histograms)


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
