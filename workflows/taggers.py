"""Whole runs of taggers: ROC curves and working points of one training, from filelists."""

from __future__ import annotations

from typing import Any, ClassVar

import law
import luigi

from tasks.roc import ROCCurveTask
from tasks.working_point import WorkingPointTask


class TaggerRun(law.WrapperTask):  # type: ignore[misc]
    """Ask for ROC curves and working points of a tagger, and so for everything before them."""

    exclude_index = True

    version = luigi.Parameter(description="your tag for dataset, training and test dataset; no default")
    training_filelist = luigi.Parameter(
        default=law.NO_STR, description="text file with the files to train on; default: those of the config"
    )
    test_filelist = luigi.Parameter(
        default=law.NO_STR, description="text file with the files to test on; default: the training files' test split"
    )
    config = luigi.Parameter(default=law.NO_STR, description="another experiment; default: that of the run")
    epochs = luigi.IntParameter(default=3, description="epochs of the training; default: 3")
    set = ROCCurveTask.set

    run_config: ClassVar[str]
    model_name: ClassVar[str]

    def requires(self) -> dict[str, Any]:
        """Returns the two tasks."""
        given = {
            "config": self.run_config if self.config == law.NO_STR else self.config,
            "set": self.set,
            "model_name": self.model_name,
            "epochs": self.epochs,
            "dataset_version": self.version,
            "training_version": self.version,
            "filelist": self.training_filelist,
            "test_filelist": self.test_filelist,
        }
        if self.test_filelist != law.NO_STR:
            given["test_dataset_version"] = f"{self.version}_test"
        return {"roc": ROCCurveTask(**given), "working_points": WorkingPointTask(**given)}


class DeepJetRun(TaggerRun):
    """Train and evaluate DeepJet on offline jets.

        law run DeepJetRun --version v1 --training-filelist train.txt --test-filelist test.txt
        law run DeepJetRun --version v1 --config quickstart_tagging --epochs 1

    Outputs: those of ROCCurveTask and WorkingPointTask.
    """

    run_config = "offline_run3"
    model_name = "DeepJet"


class DeepJetRunHLT(TaggerRun):
    """Train and evaluate DeepJet on jets of the high-level trigger.

        law run DeepJetRunHLT --version v1 --training-filelist train.txt --test-filelist test.txt

    Outputs: those of ROCCurveTask and WorkingPointTask.
    """

    run_config = "hlt_run3"
    model_name = "DeepJetHLT"


class DeepJetRunHLTPhase2(TaggerRun):
    """Train and evaluate DeepJet on jets of the high-level trigger in Phase 2.

        law run DeepJetRunHLTPhase2 --version v1 --training-filelist train.txt --test-filelist test.txt

    Outputs: those of ROCCurveTask and WorkingPointTask.
    """

    run_config = "hlt_phase2"
    model_name = "DeepJetHLT"


class ParticleNetRunHLT(TaggerRun):
    """Train and evaluate ParticleNet on jets of the high-level trigger.

        law run ParticleNetRunHLT --version v1 --training-filelist train.txt --test-filelist test.txt

    Outputs: those of ROCCurveTask and WorkingPointTask.
    """

    run_config = "hlt_run3"
    model_name = "ParticleNetHLT"
