"""No stale results: whatever a result depends on changes its path, and nothing else does."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configs.load import CONFIG_FOLDER, load_experiment
from honeyguide.errors import ConfigError, DataError
from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.diagnostics import DiagnosticsTask
from tasks.generate import GenerateEventsTask
from tasks.histograms import HistogramPlotterTask, InputHistogrammerTask
from tasks.inference import InferenceTask
from tasks.preprocessing import PreprocessTask, PreprocessTestTask
from tasks.roc import ROCCurveTask, score_files
from tasks.training import TrainingTask
from workflows.enrichment import EnrichmentStudyTask

TASKS: dict[str, type[HoneyguideTask]] = {
    task.__name__: task
    for task in (
        GenerateEventsTask, DatasetConstructorTask, PreprocessTask, TrainingTask, InferenceTask, ROCCurveTask,
        InputHistogrammerTask, HistogramPlotterTask, DiagnosticsTask, EnrichmentStudyTask, PreprocessTestTask,
    )
}  # fmt: skip
HISTOGRAMS = {"InputHistogrammerTask", "HistogramPlotterTask"}
APPLIED = {"InferenceTask", "ROCCurveTask", "PreprocessTestTask"}
FROM_TRAINING = {"TrainingTask", "InferenceTask", "ROCCurveTask", "DiagnosticsTask", "EnrichmentStudyTask"}
# who must run again when a field of the section changes
DEPENDS = {
    "preprocess": {"PreprocessTask", "PreprocessTestTask", *FROM_TRAINING},
    "model": FROM_TRAINING,
    "training": FROM_TRAINING,
    "inference": {"InferenceTask", "ROCCurveTask", "DiagnosticsTask", "EnrichmentStudyTask"},
    "roc": {"ROCCurveTask", "EnrichmentStudyTask"},
    "histograms": HISTOGRAMS,
    "diagnostics": {"DiagnosticsTask"},
    "enrichment": {"EnrichmentStudyTask"},
}
OF_TAGGERS = ("tagging.", "regression.", "export.", "importance.", "attention.")  # sections
FROM_DATASET = set(TASKS) - {"GenerateEventsTask"}

# overrides for the fields that no simple change of their value makes valid
SAMPLES = "dataset.samples."
SVJ = "{process: semi_visible_jets, mass: 3500, r_inv: 0.1, events: 500, seed: 21}"
ROWS = ("preprocess.level=row", "preprocess.features=[]", "preprocess.event_features=[{name: n}]")
ROOT_READER = ("dataset.reader={format: root, root: {tree: t, columns: {x: x}}}", "dataset.detector.tracking={}")
# arrays are not simulated: all samples are files
ARRAY_READER = (
    "dataset.reader={format: arrays, arrays: {vectors: v}}",
    *(
        f"{SAMPLES}{name}.{override}"
        for name in load_experiment("quickstart").settings.dataset.samples
        for override in ("generate=null", "files=[quickstart.yaml]")
    ),
)
SPECIAL: dict[str, tuple[str, ...]] = {
    "dataset.description": ("dataset.description=other",),
    SAMPLES + "*.files": (SAMPLES + "qcd_mpi.files=[quickstart.yaml]", SAMPLES + "qcd_mpi.generate=null"),
    SAMPLES + "*.match": (
        "dataset.filelist=$HONEYGUIDE_STORE/files.txt",
        SAMPLES + "qcd_mpi.generate=null",
        SAMPLES + "qcd_mpi.match=['*']",
    ),
    SAMPLES + "*.label": (SAMPLES + "wprime_3500.label=background", SAMPLES + "wprime_3500.signal_point=null"),
    SAMPLES + "*.split": (SAMPLES + "qcd_mpi.split=train",),
    SAMPLES + "*.generate.process": (SAMPLES + "wprime_3500.generate=" + SVJ,),
    "dataset.detector.tracking": ("dataset.detector.tracking={}",),
    "dataset.filelist": ("dataset.filelist=files.txt",),
    "dataset.reader.executor": ("dataset.reader.executor=futures",),
    "dataset.reader.scheduler": ("dataset.reader.executor=dask", "dataset.reader.scheduler=tcp://host:1"),
    "dataset.reader.format": ROOT_READER,
    "dataset.reader.root": ROOT_READER,
    "dataset.reader.arrays": ARRAY_READER,
    "preprocess.level": ("preprocess.level=constituent", "preprocess.features=[]"),
    "preprocess.jet_ordering": ("preprocess.jet_ordering=mass",),
    "preprocess.constituent_ordering": ("preprocess.constituent_ordering=pt_fraction",),
    "preprocess.features": ("preprocess.features=[{name: pt, scaler: log}]",),
    "preprocess.event_features": ("preprocess.event_features=[{name: met, scaler: log}]",),
    "preprocess.sets": (*ROWS, "preprocess.sets={cpf: {size: 3, features: [{name: pt}]}}"),
    "preprocess.pt_column": (*ROWS, "preprocess.pt_column=jet_pt"),
    "preprocess.eta_column": (*ROWS, "preprocess.eta_column=jet_eta"),
    "preprocess.phi_column": (*ROWS, "preprocess.phi_column=jet_phi"),
    "preprocess.energy_column": (*ROWS, "preprocess.energy_column=jet_energy"),
    "preprocess.targets": (*ROWS, "preprocess.targets=[{name: mass}]"),
    "preprocess.observers": (*ROWS, "preprocess.observers=[mass]"),
    "preprocess.reweighting": (*ROWS, "preprocess.reweighting={reference: b}"),
    "model.prior": ("model.prior=dirichlet", "model.posterior=gaussian"),
    "model.flow": ("model.flow=planar", "model.posterior=gaussian"),
    "training.folds": ("training.folds=3",),
    "training.start": ("training.start={weights: $HONEYGUIDE_STORE/files.txt}",),
    "training.learning_rates": ("training.learning_rates={encoder: 2.0}",),
    "training.scheduler_points": ("training.scheduler=linear", "training.scheduler_points=[[1, 0.5]]"),
    "training.betas": ("training.betas=[0.8, 0.9]",),
    "training.annealing": ("training.annealing={reconstruction: {shape: linear, end: 2.0}}",),
    "training.adversarial": ("training.adversarial={epsilon: 0.1}",),
    "inference.attack": ("inference.attack={epsilon: 0.1}",),
    "roc.scores": ("roc.scores=[reconstruction]",),
    "histograms.features": ("histograms.features={jets: [pt]}",),
    "histograms.reference": ("histograms.reference=qcd_mpi",),
    "enrichment.variants": ("enrichment.variants={plain: {}, other: {training.epochs: 3}}",),
}


VARIANTS = "enrichment.variants={plain: {}, other: {training.epochs: 2}}"


def paths(name: str, **parameters: Any) -> set[str]:
    given = parameters.pop("set", ())
    if name == "EnrichmentStudyTask" and not any(item.startswith("enrichment.variants=") for item in given):
        given = (*given, VARIANTS)  # without variants there is nothing to depend on
    if name == "PreprocessTestTask":  # without a test dataset there is nothing to make
        filelist = os.path.expandvars("$HONEYGUIDE_STORE/files.txt")
        parameters = {"test_dataset_version": "other", "test_filelist": filelist, **parameters}
    task = TASKS[name](**parameters, set=given)
    output = task.output()
    targets = output["collection"].targets.values() if isinstance(output, dict) else [output]
    return {target.path for target in targets}


def leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, FieldInfo, Any]]:
    """Yields (path, field, value) of every field; of a mapping of sections, each of its sections."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        path = prefix + name
        if isinstance(value, BaseModel):
            yield from leaves(value, path + ".")
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                yield from leaves(item, f"{path}.{key}.")
        else:
            yield path, field, value


def candidates(field: FieldInfo, value: Any) -> Iterator[str]:
    """Yields other values of a field, as YAML."""
    if isinstance(value, bool):
        yield str(not value).lower()
    elif isinstance(value, int):
        yield from (str(value + 1), str(max(value - 1, 0)))
    elif isinstance(value, float):
        yield from (repr(value * 0.9), repr(value + 0.1), "0.01")
    for option in _literals(field.annotation):
        if option != value:
            yield str(option)
    if isinstance(value, str):
        yield value + "_x"
    elif isinstance(value, tuple) and value:
        yield "[" + ", ".join(_yaml(item) for item in value[:-1]) + "]"
        yield "[" + ", ".join(_yaml(item) for item in (*value, *value[:1])) + "]"
        if isinstance(value[-1], int):
            yield f"[{value[-1] + 1}]"
    elif isinstance(value, dict):
        yield from ("{" + ", ".join(f"{key}: {item * 2}" for key, item in value.items()) + "}",) if value else ()
    if value is None:
        yield from ("1", "0.5", "1000.0", "2000.0")


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_defaults=True)
    return str(value)


def _literals(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _literals(argument)
    return found


def changed(pattern: str) -> tuple[str, ...]:
    """Returns overrides that give the field another valid value, of the first sample where one is possible."""
    options = [SPECIAL[pattern]] if pattern in SPECIAL else []
    if not options:
        places = ALL_FIELDS[pattern]
        options = [(f"{path}={option}",) for path, field, value in places for option in candidates(field, value)]
    for overrides in options:
        try:
            settings = load_experiment("quickstart", overrides).settings
        except ConfigError:
            continue
        if settings != load_experiment("quickstart").settings:
            return overrides
    pytest.fail(f"no other valid value of {pattern} found: add one to SPECIAL")


def fields_by_pattern() -> dict[str, list[tuple[str, FieldInfo, Any]]]:
    """Returns all fields; those of the samples are one, whatever the sample, since not every sample can have each."""
    found: dict[str, list[tuple[str, FieldInfo, Any]]] = {}
    for path, field, value in leaves(load_experiment("quickstart").settings):
        if path.startswith(OF_TAGGERS):  # this model is no tagger: see test_tagging_digests.py
            continue
        pattern = re.sub(r"^dataset\.samples\.[^.]+", "dataset.samples.*", path)
        found.setdefault(pattern, []).append((path, field, value))
    return found


ALL_FIELDS = fields_by_pattern()
# one value is all that they can have so far
ONE_VALUE = {"schema_version", "dataset.schema_version", "model.family"}
# no override reaches it; test_other_config_with_the_same_content_... changes it
NO_OVERRIDE = {"description"}


def test_fields_with_one_value_have_one() -> None:
    for pattern in ONE_VALUE:
        assert len(get_args(ALL_FIELDS[pattern][0][1].annotation)) == 1


@pytest.fixture(autouse=True, scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for all tests, which write nothing there: paths without any change are found once."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "files.txt").write_text(f"{CONFIG_FOLDER}/datasets/quickstart.yaml\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HONEYGUIDE_STORE", str(folder))
        yield


@functools.cache
def plain_paths(name: str) -> set[str]:
    return paths(name)


@pytest.mark.parametrize("path", sorted(set(ALL_FIELDS) - ONE_VALUE - NO_OVERRIDE))
def test_every_config_field_changes_the_path_of_what_depends_on_it_and_of_nothing_else(path: str) -> None:
    field = ALL_FIELDS[path][0][1]
    overrides = changed(path)
    moved = {name for name in TASKS if plain_paths(name) != paths(name, set=overrides)}
    section = path.split(".")[0]
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("significant") is False:
        # how files are spread over branches moves the branches' outputs, and nothing after them
        assert moved <= ({"DatasetConstructorTask"} if path == "dataset.files_per_branch" else set())
    elif section == "dataset":
        simulated = any(part in f"{overrides}" for part in (".generate", ".detector", "events_per_chunk"))
        assert moved == FROM_DATASET | ({"GenerateEventsTask"} if simulated else set())
    else:
        assert moved == DEPENDS[section]


PARAMETERS = [
    ("dataset_version", "v2", set(TASKS) - FROM_TRAINING - {"PreprocessTestTask"}),
    ("test_dataset_version", "v2", APPLIED),
    ("training_version", "v2", FROM_TRAINING),
    ("epochs", 99, FROM_TRAINING),
    ("batch_size", 99, FROM_TRAINING),
    ("label", "mine", {"ROCCurveTask"}),
    ("Nbins", 20, HISTOGRAMS),
    ("weight_histo", False, HISTOGRAMS),
    ("ylog", False, HISTOGRAMS),
    ("overlay", "other: training.epochs=3", {"ROCCurveTask"}),
    ("loss_weighting", True, FROM_TRAINING),
    ("n_threads", 2, set()),
    ("debug", True, FROM_DATASET),
    ("filelist", "files.txt", set()),
    ("chunk_size", 7, set()),
    ("coffea_worker", 2, set()),
    ("executor", "iterative", set()),
    ("nodes", 2, set()),
    ("rendezvous", "node0:29500", set()),
    ("workflow", "local", set()),
    ("notify_mail", True, set()),
    ("notify_mattermost", True, set()),
    ("notify_slack", True, set()),
    ("notify_telegram", True, set()),
    # of jobs
    ("cpus", 2, set()),
    ("memory", 5000, set()),
    ("gpus", 1, set()),
    ("gpu_type", "A100", set()),
    ("queue", "long", set()),
    ("requirements", "A100", set()),
    ("container", "image.sif", set()),
    ("job_options", "account=me", set()),
    ("ship", "repository", set()),
    ("poll_interval", 1.0, set()),
    ("impossible_after", 3.0, set()),
]


@pytest.mark.parametrize(("parameter", "value", "expected"), PARAMETERS)
def test_every_parameter_changes_the_paths_that_it_should(parameter: str, value: Any, expected: set[str]) -> None:
    having = {name for name, task in TASKS.items() if parameter in dict(task.get_params())}
    assert {name for name in having if plain_paths(name) != paths(name, **{parameter: value})} == expected & having


def test_every_parameter_is_covered_above() -> None:
    covered = {"config", "set", "print_usage", "dask_scheduler", "test_filelist", "model_name"} | {
        item[0] for item in PARAMETERS
    }
    own = {
        name
        for task in TASKS.values()
        for base in task.__mro__
        if base.__module__.startswith("tasks.")
        for name, value in vars(base).items()
        if name in dict(task.get_params()) and name not in task.interactive_params
    }
    assert own - covered == set()


def test_flag_is_the_same_as_its_override() -> None:
    assert paths("ROCCurveTask", epochs=3) == paths("ROCCurveTask", set=("training.epochs=3",))


def test_the_name_of_a_preset_is_the_same_as_its_family_and_preset() -> None:
    long = ("model.family=tagger", "model.preset=DeepJetHLT")
    assert paths("TrainingTask", model_name="DeepJetHLT") == paths("TrainingTask", set=long)
    assert paths("TrainingTask", model_name="DeepJetHLT") != paths("TrainingTask", model_name="DeepJet")
    assert paths("PreprocessTask", set=long) == paths("PreprocessTask")


def test_override_at_its_default_is_no_change() -> None:
    settings = load_experiment("quickstart").settings.training
    assert "momentum" not in settings.model_fields_set
    assert paths("TrainingTask") == paths("TrainingTask", set=(f"training.momentum={settings.momentum}",))


def test_histograms_of_model_inputs_depend_on_the_preprocessing() -> None:
    inputs, fewer = ("histograms.source=test",), ("histograms.source=test", "preprocess.num_jets=1")
    for name in HISTOGRAMS:
        assert paths(name) == paths(name, set=fewer[1:])
        assert len({*paths(name), *paths(name, set=inputs), *paths(name, set=fewer)}) == 3


def test_other_config_with_the_same_content_shares_the_dataset(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text("extends: quickstart\ndescription: other words\ntraining: {epochs: 3}\n")
    assert paths("PreprocessTask", config=str(copy)) == paths("PreprocessTask")
    assert paths("TrainingTask", config=str(copy)) != paths("TrainingTask")
    digests = {Path(path).name for path in paths("TrainingTask", config=str(copy))}
    assert digests == {Path(path).name for path in paths("TrainingTask", epochs=3)}


def test_two_requests_for_one_dataset_are_one_task() -> None:
    one, other = (PreprocessTask(set=(f"training.epochs={n}",)) for n in (3, 4))
    assert one is other


@pytest.fixture
def file_config(tmp_path: Path) -> str:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text(name)
    (tmp_path / "data.yaml").write_text(
        "files_per_branch: 1\nsamples: {qcd: {process: qcd, generator: g, files: ['*.csv']}}\n"
    )
    (tmp_path / "exp.yaml").write_text("dataset: data.yaml\nmodel: {family: vae}\n")
    return str(tmp_path / "exp.yaml")


def test_changed_source_file_moves_its_branch_alone_and_all_that_comes_after(file_config: str, tmp_path: Path) -> None:
    before = paths("DatasetConstructorTask", config=file_config), paths("PreprocessTask", config=file_config)
    (tmp_path / "b.csv").write_text("other")
    HoneyguideTask.clear_instance_cache()
    after = paths("DatasetConstructorTask", config=file_config), paths("PreprocessTask", config=file_config)
    assert len(before[0] & after[0]) == 2
    assert len(after[0] - before[0]) == 1
    assert before[1] != after[1]


def test_added_source_file_keeps_the_branches_of_the_others(file_config: str, tmp_path: Path) -> None:
    before = paths("DatasetConstructorTask", config=file_config), paths("PreprocessTask", config=file_config)
    (tmp_path / "d.csv").write_text("d")
    HoneyguideTask.clear_instance_cache()
    after = paths("DatasetConstructorTask", config=file_config), paths("PreprocessTask", config=file_config)
    assert before[0] < after[0]
    assert before[1] != after[1]


def test_weights_to_begin_with_count_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("one")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/best.safetensors").write_text("one")
    (tmp_path / "c.pt").write_text("another")
    name = "training.start={{weights: {}}}"
    one, same, other = (paths("TrainingTask", set=(name.format(tmp_path / file),)) for file in ("a.pt", "b", "c.pt"))
    assert one == same
    assert one.isdisjoint(other)
    (tmp_path / "a.pt").write_text("changed")
    HoneyguideTask.clear_instance_cache()
    assert one.isdisjoint(paths("TrainingTask", set=(name.format(tmp_path / "a.pt"),)))
    with pytest.raises(DataError, match="not there"):
        paths("TrainingTask", set=(name.format(tmp_path / "none.pt"),))


def test_a_training_that_begins_with_another_needs_it_and_changes_with_it() -> None:
    def begun(start: str, **parameters: Any) -> TrainingTask:
        overrides = ("training.seeds=[4,5]", f"training.start={{experiment: quickstart, {start}}}")
        return TrainingTask(set=overrides, branch=1, **parameters)

    plain = begun("version: v1")
    base = plain.requires()["start"]
    assert isinstance(base, TrainingTask)
    assert (base.training_branches, base.output().path) == (
        [(5, None)],
        TrainingTask(set=("training.seeds=[5]",), branch=0).output().path,
    )
    assert [task.training_branches for task in plain.as_workflow().workflow_requires()["start"]] == [
        [(4, None)],
        [(5, None)],
    ]
    assert begun("seed: 9").requires()["start"].training_branches == [(9, None)]
    assert begun("dataset_version: v9").requires()["start"].dataset_version == "v9"
    digests = {begun(start).digest for start in ("version: v1", "version: v2")}
    assert digests == {plain.digest}  # a tag is no content
    others = {begun(start).digest for start in ("overrides: 'training.epochs=7'", "seed: 9", "exclude: [encoder]")}
    assert len(others | digests) == 4


def test_an_experiment_does_not_begin_with_itself(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"extends: quickstart\ntraining: {{start: {{experiment: {path}}}}}\n")
    with pytest.raises(ConfigError, match="begins with itself"):
        paths("TrainingTask", config=str(path))
    assert paths("TrainingTask", config=str(path), set=("training.start.overrides='training.start=null'",))


def test_the_order_of_learning_rates_counts() -> None:
    one, other = ("{encoder: 2.0, enc: 3.0}", "{enc: 3.0, encoder: 2.0}")
    found = [paths("TrainingTask", set=(f"training.learning_rates={rates}",)) for rates in (one, other)]
    assert found[0].isdisjoint(found[1])


def test_folds_are_branches_of_their_own_and_every_one_is_scored() -> None:
    folds = ("training.folds=3", "training.seeds=[4,5]")
    trainings = TrainingTask(set=folds).get_branch_tasks()
    assert [task.branch_name() for task in trainings.values()] == [f"seed{s}-fold{f}" for s in (4, 5) for f in range(3)]
    assert len({task.digest for task in trainings.values()}) == 6
    scores = InferenceTask(set=folds).get_branch_tasks().values()
    assert {task.branch_data[0] for task in scores} == set(range(6))
    assert len({task.output().path for task in scores}) == len(scores)
    (files,) = score_files(ROCCurveTask(set=folds).requires()).values()
    assert len(files) == 6
    plain = TrainingTask(set=folds[1:]).get_branch_tasks()
    assert [task.branch_name() for task in plain.values()] == ["seed4", "seed5"]
