"""The event store into model inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law
import luigi

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask

if TYPE_CHECKING:
    from honeyguide.data.sample import SampleInfo


class PreprocessTask(HoneyguideTask):
    """Select, order and truncate objects, split by event hash, fit scalers on the training split, write model inputs.

        law run PreprocessTask --config quickstart
        law run PreprocessTask --config quickstart --set preprocess.num_jets=2,preprocess.num_constituents=30

    Outputs: ``<sample>/<split>.h5`` (memory-mapped arrays), ``spec.json`` (names, shapes, units) and ``scalers.json``;
    with ``preprocess.reweighting`` also ``reweighting.json`` and its figure.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess")
    own_sections = ("preprocess",)
    result_version = 1

    def requires(self) -> DatasetConstructorTask:
        """Returns the whole dataset."""
        return DatasetConstructorTask.req(self)

    def samples(self) -> dict[str, SampleInfo]:
        """Returns what is known of each sample that has files."""
        settings = self.experiment.settings.dataset.samples
        return {name: settings[name].info(name) for name, files in self.requires().sources().items() if files}

    def identity(self) -> dict[str, Any]:
        """Returns what the inputs depend on: the settings and the dataset's files, however they were chunked."""
        return {**super().identity(), "dataset": self.requires().dataset_identity()}

    def run(self) -> None:
        """Writes the model inputs."""
        from honeyguide.data.row_reweighting import read_row_reweighting
        from honeyguide.preprocess.pipeline import preprocess

        settings, dataset = self.experiment.settings, self.requires()
        with self.write_output() as folder:
            preprocess(
                dataset.shards(),
                folder,
                samples=list(self.samples().values()),
                settings=settings.preprocess,
                progress=self.progress("preprocessing (fit, then write), events"),
            )
            reweighting = read_row_reweighting(folder)
        if reweighting is not None:
            shares = ", ".join(f"{name} {share:.1%}" for name, share in reweighting.kept_shares.items())
            self.publish_message(f"reweighting to {reweighting.settings.reference} keeps in an epoch: {shares}")


class TestDatasetParameters(HoneyguideTask):
    """Parameters of tasks that apply a training to other files than those that it was made with."""

    test_filelist = luigi.Parameter(
        default=law.NO_STR,
        description="text file with the files to test on, one path, glob or URL per line; default: none, the test "
        "split of the training's files",
    )
    test_dataset_version = luigi.Parameter(
        default=law.NO_STR,
        description="your tag for the dataset to test on; without --test-filelist the filelist is the one that this "
        "dataset was made with; default: 'test' where there is a --test-filelist",
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Returns the parameters with an absolute filelist, and a version for it."""
        params = super().modify_param_values(params)
        if params["test_filelist"] != law.NO_STR:
            params["test_filelist"] = str(Path(params["test_filelist"]).expanduser().absolute())
            if params["test_dataset_version"] == law.NO_STR:
                params["test_dataset_version"] = "test"
        return params

    def inputs(self) -> PreprocessTask | PreprocessTestTask:
        """Returns the model inputs to test on."""
        kind = PreprocessTask if self.test_dataset_version == law.NO_STR else PreprocessTestTask
        return kind.req(self)


class PreprocessTestTask(TestDatasetParameters):
    """Make model inputs of other files, scaled as those of the training were: all of them are for the test.

        law run PreprocessTestTask --config hlt_run3 --dataset-version v1 --test-filelist test.txt

    Outputs are those of PreprocessTask. A file that is among the training's, too, is an error.
    """

    sections: ClassVar[tuple[str, ...]] = PreprocessTask.sections
    own_sections = ("preprocess",)
    result_version = 1

    def requires(self) -> dict[str, Any]:
        """Returns the training's model inputs, and both datasets."""
        others = tuple(item for item in self.set if not item.startswith("dataset.filelist="))
        filelist = () if self.test_filelist == law.NO_STR else (f"dataset.filelist={self.test_filelist}",)
        test = DatasetConstructorTask.req(self, dataset_version=self.test_dataset_version, set=(*others, *filelist))
        return {"fitted": PreprocessTask.req(self), "training": DatasetConstructorTask.req(self), "test": test}

    def samples(self) -> dict[str, SampleInfo]:
        """Returns what is known of each sample that has files: all of its events are for the test."""
        settings, sources = self.experiment.settings.dataset.samples, self.requires()["test"].sources()
        infos = {name: settings[name].info(name) for name, files in sources.items() if files}
        return {name: info.model_copy(update={"split": "test"}) for name, info in infos.items()}

    def path_parts(self) -> tuple[str, ...]:
        """Returns the names of dataset and version."""
        return (self.experiment.dataset_name, self.test_dataset_version)

    def identity(self) -> dict[str, Any]:
        """Returns what the inputs depend on: those of the training, and the test's files."""
        required = self.requires()
        own = {"fitted": required["fitted"].digest, "dataset": required["test"].dataset_identity()}
        return {**super().identity(), **own}

    def run(self) -> None:
        """Writes the model inputs."""
        from honeyguide.preprocess.pipeline import preprocess
        from honeyguide.preprocess.row_store import check_no_shared_files

        required = self.requires()
        check_no_shared_files(required["test"].shards(), required["training"].shards())
        with self.write_output() as folder:
            preprocess(
                required["test"].shards(),
                folder,
                samples=list(self.samples().values()),
                settings=self.experiment.settings.preprocess,
                progress=self.progress("preprocessing of the test, events"),
                fitted=required["fitted"].output().folder,
            )
