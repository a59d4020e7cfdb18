"""Apply trained models."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import law

import models
from tasks.gpus import without_gpu
from tasks.preprocessing import TestDatasetParameters
from tasks.remote import RemoteWorkflow
from tasks.training import TrainingParameters, TrainingTask


class InferenceTask(TestDatasetParameters, TrainingParameters, RemoteWorkflow):
    """Apply the trained model to the test split, or to other files; a branch is one sample and one seed.

        law run InferenceTask --config quickstart
        law run InferenceTask --config quickstart --set inference.batch_size=8192 --workers 2
        law run InferenceTask --config hlt_run3 --dataset-version v1 --test-filelist test.txt

    Outputs: ``scores.h5`` and ``scores.root`` (TTree ``events``): the scores of every test event (``total``, its terms,
    ``mahalanobis``: the distance from the training's background in the latent space; of a tagger the probability of
    each class, ``prob_<class>``), latents, ids, weights and truth.
    """

    sections: ClassVar[tuple[str, ...]] = (*TrainingParameters.sections, "inference")
    own_sections = ("inference",)
    result_version = 2

    def create_branch_map(self) -> list[tuple[int, str]]:
        """Returns (branch of the training, sample) for every sample that has test events."""
        samples = [name for name, info in self.inputs().samples().items() if info.split != "train"]
        return [(seed, name) for seed in range(len(self.training_branches)) for name in samples]

    def branch_name(self) -> str:
        """Returns sample and training."""
        training, sample = self.branch_data
        return f"{sample}-{self.training_name(training)}"

    def workflow_requires(self) -> dict[str, Any]:
        """Returns all trainings and the model inputs."""
        return {"training": TrainingTask.req(self, branch=-1), "inputs": self.inputs()}

    def requires(self) -> dict[str, Any]:
        """Returns the branch's training and the model inputs."""
        return {"training": TrainingTask.req(self, branch=self.branch_data[0]), "inputs": self.inputs()}

    def identity(self) -> dict[str, Any]:
        """Returns what the scores depend on: the training, the sample, and the files where they are others."""
        training = self.requires()["training"].digest
        test = {} if self.test_dataset_version == law.NO_STR else {"test": self.inputs().digest}
        return {**super().identity(), "training": training, "sample": self.branch_data[1], **test}

    def run(self) -> None:
        """Scores the branch's sample, on the CPU where there is no GPU."""
        from honeyguide.inference.run import infer

        settings, inputs = self.experiment.settings, self.input()
        how, missing = settings.inference, without_gpu(settings.inference.device)
        if missing:
            self.publish_message(missing)
            how = how.model_copy(update={"device": "cpu"})
        with self.write_output() as folder:
            infer(
                inputs["training"].folder,
                inputs["inputs"].folder / self.branch_data[1] / "test.h5",
                folder,
                build_model=functools.partial(models.build, settings.model),
                settings=how,
                progress=self.progress(f"{self.branch_name()}: events"),
            )
