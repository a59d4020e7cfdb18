"""Histograms of what goes in."""

from __future__ import annotations

from typing import Any, ClassVar

import law
import luigi

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.preprocessing import PreprocessTask


class HistogramParameters(HoneyguideTask):
    """Parameters of the tasks of histograms; each is a short form of an override."""

    Nbins = luigi.IntParameter(
        default=law.NO_INT, description="short for --set histograms.num_bins=N; default: the config's"
    )
    weight_histo = luigi.BoolParameter(
        default=True,
        parsing=luigi.BoolParameter.EXPLICIT_PARSING,
        description="draw weighted histograms; False is short for --set histograms.weighted=false; default: True",
    )
    ylog = luigi.BoolParameter(
        default=True,
        parsing=luigi.BoolParameter.EXPLICIT_PARSING,
        description="logarithmic axis; False is short for --set histograms.log=false; default: True",
    )

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess", "histograms")
    flags: ClassVar[dict[str, tuple[str, Any]]] = {
        **HoneyguideTask.flags,
        "Nbins": ("histograms.num_bins", law.NO_INT),
        "weight_histo": ("histograms.weighted", True),
        "ylog": ("histograms.log", True),
    }


class InputHistogrammerTask(HistogramParameters):
    """Fill histograms of every feature, per sample or per truth of the rows, with and without event weights.

        law run InputHistogrammerTask --config quickstart
        law run InputHistogrammerTask --config quickstart --Nbins 80
        law run InputHistogrammerTask --config quickstart --set histograms.source=test
        law run InputHistogrammerTask --config quickstart_tagging --set histograms.by=sample

    Of the stored features, or of the scaled columns that the model sees. Output: ``histograms.h5``, one binning for all
    samples and files, with under- and overflow and sums of squared weights.
    """

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
                shards = {name: paths for name, paths in source.shards().items() if paths}
                fill_histograms(shards, folder, settings=settings)
            else:
                fill_input_histograms(source.output().folder, settings.source, folder, settings=settings)


class HistogramPlotterTask(HistogramParameters):
    """Draw the histograms of the inputs: a figure per feature, all samples or truths on it.

        law run HistogramPlotterTask --config quickstart
        law run HistogramPlotterTask --config quickstart_tagging --ylog False

    Outputs: PNG and PDF per feature.
    """

    own_sections = ("histograms",)
    result_version = 2

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
