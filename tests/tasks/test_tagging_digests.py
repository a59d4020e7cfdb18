"""No stale results of taggers: what evaluates them depends on the section for taggers, and on no other of its kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_experiment
from honeyguide.errors import ConfigError
from honeyguide.evaluation.attention_settings import AttentionSettings
from honeyguide.evaluation.importance_settings import ImportanceSettings
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings
from honeyguide.evaluation.tagging_settings import TaggingSettings
from honeyguide.export.settings import ExportSettings
from tasks.attention import AttentionTask
from tasks.base import HoneyguideTask
from tasks.export import ExportTask
from tasks.importance import FeatureImportanceTask
from tasks.inference import InferenceTask
from tasks.model_summary import ModelSummaryTask
from tasks.regression import RegressionTask
from tasks.roc import ROCCurveTask, class_truths
from tasks.training import TrainingTask
from tasks.working_point import WorkingPointTask
from workflows.compare_taggers import CompareTaggersTask

TASKS: dict[str, type[HoneyguideTask]] = {
    task.__name__: task
    for task in (
        TrainingTask, InferenceTask, ROCCurveTask, WorkingPointTask, ExportTask, ModelSummaryTask,
        FeatureImportanceTask, CompareTaggersTask, AttentionTask,
    )
}  # fmt: skip
EVALUATE = {"ROCCurveTask", "WorkingPointTask", "CompareTaggersTask"}
TAGGING = {*EVALUATE, "FeatureImportanceTask"}
FROM_TRAINING = {*TASKS} - {"ModelSummaryTask"}
# another value of every field of a section that one task alone reads
OWN = {
    "importance": (
        "FeatureImportanceTask",
        ImportanceSettings,
        {"rows": "77", "repeats": "3", "seed": "7", "weights": "last", "shown": "7"},
    ),
    "attention": (
        "AttentionTask",
        AttentionSettings,
        {
            "jets_per_class": "2",
            "event_ids": "[7]",
            "mean_jets": "7",
            "objects": "7",
            "lines": "7",
            "seed": "7",
            "weights": "last",
        },
    ),
    "export": ("ExportTask", ExportSettings, {"weights": "last", "tolerance": "0.001", "parity_rows": "7"}),
}
OTHER = {
    "groups": "{light: [uds, g], heavy: [b, c]}",
    "discriminators": "[BvsL]",
    "definitions": "{mine: {numerator: [b], denominator: [all]}}",
    "baselines": "{hardness: pt}",
    "windows": "{hard: {pt: [100, 1000]}}",
    "by_process": "false",
    "weighted": "false",
    "mistag_efficiencies": "[0.1]",
    "score_bins": "20",
    "working_points": "{BvsL: {points: {loose: 0.2}}}",
    "plane": "[CvsB, CvsL]",
    "plane_points": "{}",
    "bins": "{pt: [20, 1000]}",
    "confidence_level": "0.95",
    "min_jets": "20",
}

PREDICTS = (
    "model.regression={mass: {}}",
    "preprocess.targets=[{name: mass}]",
    "preprocess.event_features=[{name: pt}]",
)
OTHER_REGRESSION = {
    "targets": "[mass]",
    "residual": "ratio",
    "units": "{mass: GeV}",
    "pt": "[20, 100]",
    "weighted": "false",
    "residual_bins": "20",
    "confidence_level": "0.95",
    "num_replicas": "30",
    "bootstrap_seed": "2",
    "min_jets": "50",
}


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path))
    (tmp_path / "other.yaml").write_text("extends: quickstart_tagging\ntraining: {batch_size: 7}\n")


def paths(name: str, config: str = "quickstart_tagging", **parameters: Any) -> set[str]:
    if name == "CompareTaggersTask":
        parameters["configs"] = (config, os.path.expandvars("$HONEYGUIDE_STORE/other.yaml"))
    output = TASKS[name](config=config, **parameters).output()
    targets = output["collection"].targets.values() if isinstance(output, dict) else [output]
    return {target.path for target in targets}


def moved(**parameters: Any) -> set[str]:
    return {name for name in TASKS if paths(name) != paths(name, **parameters)}


def test_all_settings_of_taggers_have_another_value_here() -> None:
    assert set(OTHER) == set(TaggingSettings.model_fields)


@pytest.mark.parametrize("field", sorted(OTHER))
def test_settings_of_taggers_move_their_evaluation_and_nothing_else(field: str) -> None:
    overrides = (f"tagging.{field}={OTHER[field]}",)
    assert load_experiment("quickstart_tagging", overrides) != load_experiment("quickstart_tagging")
    assert moved(set=overrides) == TAGGING
    assert paths("ROCCurveTask", "quickstart", set=overrides) == paths("ROCCurveTask", "quickstart")


@pytest.mark.parametrize("section", sorted(OWN))
def test_settings_of_one_task_move_that_task(section: str) -> None:
    task, settings, others = OWN[section]
    fields = settings.model_fields.items()
    assert set(others) == {name for name, field in fields if field.json_schema_extra != {"significant": False}}
    for field, value in others.items():
        assert moved(set=(f"{section}.{field}={value}",)) == {task}, field


def test_settings_of_anomaly_scores_move_nothing_of_taggers() -> None:
    assert moved(set=("roc.axes=efficiency", "roc.weighted=false")) == set()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"set": ("model.dropout=0.2",)}, set(TASKS)),
        ({"epochs": 99}, FROM_TRAINING),
        ({"training_version": "v2"}, set(TASKS)),
        ({"set": ("inference.batch_size=77",)}, set()),
        ({"test_dataset_version": "v2"}, {"InferenceTask", *EVALUATE}),
        ({"label": "mine"}, EVALUATE),
        ({"overlay": "other: training.epochs=3"}, {"ROCCurveTask"}),
        ({"n_threads": 2}, set()),
    ],
)
def test_parameters_move_what_depends_on_them(parameters: dict[str, Any], expected: set[str]) -> None:
    (name,) = parameters
    having = {task for task, kind in TASKS.items() if name in dict(kind.get_params())}
    changed = {task for task in having if paths(task) != paths(task, **parameters)}
    assert changed == expected & having


def test_working_points_of_an_anomaly_score_are_a_readable_error() -> None:
    with pytest.raises(ConfigError, match=r"has no classes(.|\n)*model.family: vae(.|\n)*ROCCurveTask"):
        WorkingPointTask(config="quickstart").requires()


def test_export_of_an_anomaly_detector_is_a_readable_error() -> None:
    with pytest.raises(ConfigError, match=r"no classes(.|\n)*model.family: vae"):
        ExportTask(config="quickstart", branch=0).requires()


def test_taggers_and_anomaly_scores_are_not_drawn_together() -> None:
    with pytest.raises(ConfigError, match="no common figure"):
        ROCCurveTask(config="quickstart_tagging", overlay="anomaly: quickstart").requires()


def test_truths_of_the_classes_are_those_of_each_training() -> None:
    requirements = ROCCurveTask(
        config="quickstart_tagging", overlay="two: model.classes={heavy: [b, c], light: [uds, g]}"
    ).requires()
    first, second = (class_truths(task) for task in requirements.values())
    assert first["b"] == ("b",)
    assert {name: tuple(truths) for name, truths in second.items()} == {"heavy": ("b", "c"), "light": ("uds", "g")}


def test_a_comparison_is_one_of_different_experiments(tmp_path: Path) -> None:
    compare = CompareTaggersTask(configs=("quickstart_tagging", str(tmp_path / "other.yaml")))
    assert list(compare.requires()) == ["quickstart_tagging", "other"]
    assert compare.config == "quickstart_tagging"
    swapped = CompareTaggersTask(configs=(str(tmp_path / "other.yaml"), "quickstart_tagging"))
    assert compare.digest != swapped.digest
    for configs in (("quickstart_tagging",), ("quickstart_tagging", "quickstart_tagging")):
        with pytest.raises(ConfigError, match="two or more experiments"):
            CompareTaggersTask(configs=configs)
    with pytest.raises(ConfigError, match="no classes"):
        CompareTaggersTask(configs=("quickstart_tagging", "quickstart")).requires()


@pytest.mark.parametrize("field", sorted(OTHER_REGRESSION))
def test_settings_of_regressions_move_their_evaluation_and_nothing_else(field: str) -> None:
    assert set(OTHER_REGRESSION) == set(RegressionEvaluationSettings.model_fields)
    overrides = (*PREDICTS, f"regression.{field}={OTHER_REGRESSION[field]}")
    before, after = (RegressionTask(config="quickstart_tagging", set=given).digest for given in (PREDICTS, overrides))
    assert before != after
    for name in TASKS:
        assert paths(name, set=PREDICTS) == paths(name, set=overrides)


def test_regressions_depend_on_scores_and_name() -> None:
    plain = RegressionTask(config="quickstart_tagging", set=PREDICTS)
    others = [
        RegressionTask(config="quickstart_tagging", set=(*PREDICTS, "training.epochs=7")),
        RegressionTask(config="quickstart_tagging", set=PREDICTS, label="mine"),
        RegressionTask(config="quickstart_tagging", set=PREDICTS, training_version="v2"),
    ]
    assert len({task.output().path for task in (plain, *others)}) == 4


def test_evaluations_that_a_model_can_not_have_are_readable_errors() -> None:
    with pytest.raises(ConfigError, match=r"predicts no targets(.|\n)*model.regression"):
        RegressionTask(config="quickstart_tagging").requires()
    alone = (*PREDICTS, "model.classify=false", "model.classes={}")
    with pytest.raises(ConfigError, match=r"no ROC curves(.|\n)*RegressionTask"):
        ROCCurveTask(config="quickstart_tagging", set=alone).requires()
    with pytest.raises(ConfigError, match="has no classes"):
        WorkingPointTask(config="quickstart_tagging", set=alone).requires()
