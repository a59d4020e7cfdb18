"""The event store into model inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law
import luigi

from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.remote import RemoteWorkflow

if TYPE_CHECKING:
    from honeyguide.data.sample import SampleInfo

_JOBS = ("slurm", "htcondor")


class Preprocessing(HoneyguideTask):
    """Base of tasks that make model inputs.

    On this machine one process makes all of them. With ``--workflow slurm`` or ``htcondor`` jobs do: one the fit, then
    one for each branch of the dataset; what is left to do here is to put their parts together.
    """

    sections: ClassVar[tuple[str, ...]] = ("dataset", "preprocess")
    own_sections = ("preprocess",)

    @property
    def in_parts(self) -> bool:
        """Whether jobs write parts; once the model inputs are there, no part is needed any more."""
        return self.workflow in _JOBS and not self.output().exists()

    def parts(self) -> PreprocessPartTask:
        """Returns the workflow that writes the parts."""
        return PreprocessPartTask.req(self, branch=-1)

    def dataset(self) -> DatasetConstructorTask:
        """Returns the dataset whose events become model inputs."""
        raise NotImplementedError

    def needs(self) -> dict[str, Any]:
        """Returns what has to be there before the fit."""
        raise NotImplementedError

    def fitted(self) -> PreprocessTask | None:
        """Returns the model inputs whose scalers are taken over, None where they are fitted."""
        return None

    def samples(self) -> dict[str, SampleInfo]:
        """Returns what is known of each sample that has files."""
        settings = self.experiment.settings.dataset.samples
        return {name: settings[name].info(name) for name, files in self.dataset().sources().items() if files}

    def arguments(self) -> dict[str, Any]:
        """Returns what the library is told of the whole dataset."""
        fitted = self.fitted()
        return {
            "shards": self.dataset().shards(),
            "samples": list(self.samples().values()),
            "settings": self.experiment.settings.preprocess,
            "fitted": None if fitted is None else fitted.output().folder,
        }

    def check(self) -> None:
        """Checks the dataset before anything takes time."""

    def write_inputs(self, folder: Path) -> None:
        """Writes the model inputs, at once or from their parts."""
        from honeyguide.preprocess.pipeline import merge_parts, preprocess

        if self.in_parts:
            parts, settings = self.parts(), self.experiment.settings.preprocess
            fit = parts.fit().output().folder
            merge_parts(parts.folders(), folder, fit=fit, settings=settings, has_training=self.fitted() is None)
        else:
            self.check()
            progress = self.progress("preprocessing (fit, then write), events")
            preprocess(folder=folder, progress=progress, **self.arguments())

    def remove_parts(self) -> None:
        """Removes what the jobs have written: it would take the disk twice."""
        if self.workflow in _JOBS:
            parts = self.parts()
            for task in (*parts.get_branch_tasks().values(), parts.fit()):
                task.output().remove()


class PreprocessTask(Preprocessing):
    """Select, order and truncate objects, split by event hash, fit scalers on the training split, write model inputs.

        law run PreprocessTask --config quickstart
        law run PreprocessTask --config quickstart --set preprocess.num_jets=2,preprocess.num_constituents=30
        law run PreprocessTask --config quickstart --workflow slurm

    Outputs: ``<sample>/<split>.h5`` (memory-mapped arrays), ``spec.json`` (names, shapes, units) and ``scalers.json``;
    with ``preprocess.reweighting`` also ``reweighting.json`` and its figure.
    """

    result_version = 1

    def dataset(self) -> DatasetConstructorTask:
        """Returns the whole dataset."""
        return DatasetConstructorTask.req(self)

    def needs(self) -> dict[str, Any]:
        """Returns the whole dataset."""
        return {"dataset": self.dataset()}

    def requires(self) -> DatasetConstructorTask | PreprocessPartTask:
        """Returns the whole dataset, or the parts where jobs write them."""
        return self.parts() if self.in_parts else self.dataset()

    def identity(self) -> dict[str, Any]:
        """Returns what the inputs depend on: the settings and the dataset's files, however they were chunked."""
        return {**super().identity(), "dataset": self.dataset().dataset_identity()}

    def run(self) -> None:
        """Writes the model inputs."""
        from honeyguide.data.row_reweighting import read_row_reweighting

        with self.write_output() as folder:
            self.write_inputs(folder)
            reweighting = read_row_reweighting(folder)
        self.remove_parts()
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


class PreprocessTestTask(TestDatasetParameters, Preprocessing):
    """Make model inputs of other files, scaled as those of the training were: all of them are for the test.

        law run PreprocessTestTask --config hlt_run3 --dataset-version v1 --test-filelist test.txt

    Outputs are those of PreprocessTask. A file that is among the training's, too, is an error.
    """

    result_version = 1

    def dataset(self) -> DatasetConstructorTask:
        """Returns the dataset of the test."""
        others = tuple(item for item in self.set if not item.startswith("dataset.filelist="))
        filelist = () if self.test_filelist == law.NO_STR else (f"dataset.filelist={self.test_filelist}",)
        return DatasetConstructorTask.req(self, dataset_version=self.test_dataset_version, set=(*others, *filelist))

    def fitted(self) -> PreprocessTask:
        """Returns the training's model inputs."""
        return PreprocessTask.req(self)

    def needs(self) -> dict[str, Any]:
        """Returns the training's model inputs, and both datasets."""
        return {"fitted": self.fitted(), "training": DatasetConstructorTask.req(self), "test": self.dataset()}

    def requires(self) -> dict[str, Any]:
        """Returns the training's model inputs and both datasets, or the parts where jobs write them."""
        return {"parts": self.parts()} if self.in_parts else self.needs()

    def samples(self) -> dict[str, SampleInfo]:
        """Returns what is known of each sample that has files: all of its events are for the test."""
        return {name: info.model_copy(update={"split": "test"}) for name, info in super().samples().items()}

    def path_parts(self) -> tuple[str, ...]:
        """Returns the names of dataset and version."""
        return (self.experiment.dataset_name, self.test_dataset_version)

    def identity(self) -> dict[str, Any]:
        """Returns what the inputs depend on: those of the training, and the test's files."""
        own = {"fitted": self.fitted().digest, "dataset": self.dataset().dataset_identity()}
        return {**super().identity(), **own}

    def check(self) -> None:
        """Checks that no file is trained on and tested on."""
        from honeyguide.preprocess.row_store import check_no_shared_files

        check_no_shared_files(self.dataset().shards(), DatasetConstructorTask.req(self).shards())

    def run(self) -> None:
        """Writes the model inputs."""
        with self.write_output() as folder:
            self.write_inputs(folder)
        self.remove_parts()


class PreprocessFitTask(TestDatasetParameters, RemoteWorkflow):
    """Look at all events once and fit the scalers, for model inputs that jobs write in parts; one branch.

        law run PreprocessFitTask --config quickstart --workflow slurm

    Outputs: ``spec.json`` and ``scalers.json``; PreprocessTask takes them over and removes them. Of a test dataset
    nothing is fitted, but its files are checked and its samples get their codes.
    """

    sections: ClassVar[tuple[str, ...]] = Preprocessing.sections
    result_version = 1

    def create_branch_map(self) -> list[str]:
        """Returns the one fit."""
        return ["fit"]

    def path_parts(self) -> tuple[str, ...]:
        """Returns those of the model inputs."""
        return self.inputs().path_parts()

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the dataset, and for a test the training's model inputs."""
        return self.inputs().needs()

    def requires(self) -> dict[str, Any]:
        """Returns the same."""
        return self.inputs().needs()

    def identity(self) -> dict[str, Any]:
        """Returns what the fit depends on: the same as the model inputs."""
        return {**super().identity(), "inputs": self.inputs().digest}

    def run(self) -> None:
        """Fits."""
        from honeyguide.preprocess.pipeline import fit_inputs

        inputs = self.inputs()
        inputs.check()
        with self.write_output() as folder:
            fit_inputs(folder=folder, progress=self.progress("fit, events"), **inputs.arguments())


class PreprocessPartTask(TestDatasetParameters, RemoteWorkflow):
    """Write a part of the model inputs: a branch is what one branch of DatasetConstructorTask has converted.

        law run PreprocessPartTask --config quickstart --workflow slurm --tasks-per-job 10

    Outputs: ``<split>.h5``; PreprocessTask puts them together and removes them.
    """

    sections: ClassVar[tuple[str, ...]] = Preprocessing.sections
    result_version = 1

    def create_branch_map(self) -> list[DatasetConstructorTask]:
        """Returns the branches of the dataset."""
        return list(self.inputs().dataset().get_branch_tasks().values())

    def branch_name(self) -> str:
        """Returns the sample."""
        return self.branch_data.branch_name()

    def path_parts(self) -> tuple[str, ...]:
        """Returns those of the model inputs."""
        return self.inputs().path_parts()

    def fit(self) -> PreprocessFitTask:
        """Returns the fit."""
        return PreprocessFitTask.req(self, branch=0)

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the fit, which needs the dataset."""
        return {"fit": PreprocessFitTask.req(self, branch=-1, branches=())}

    def requires(self) -> dict[str, Any]:
        """Returns the fit and the branch of the dataset."""
        return {"fit": self.fit(), "dataset": self.branch_data}

    def identity(self) -> dict[str, Any]:
        """Returns what the part depends on: the same as the model inputs, and its files."""
        return {**super().identity(), "inputs": self.inputs().digest, "chunk": self.branch_data.digest}

    def folders(self) -> dict[str, list[Path]]:
        """Returns the parts of each sample, in order."""
        folders: dict[str, list[Path]] = {}
        for task in self.get_branch_tasks().values():
            folders.setdefault(task.branch_name(), []).append(task.output().folder)
        return folders

    def run(self) -> None:
        """Writes the part."""
        from honeyguide.preprocess.pipeline import write_part

        with self.write_output() as folder:
            write_part(
                self.branch_data.own_shards(),
                folder,
                fit=self.fit().output().folder,
                sample=self.inputs().samples()[self.branch_name()],
                settings=self.experiment.settings.preprocess,
                progress=self.progress("preprocessing, events"),
            )
