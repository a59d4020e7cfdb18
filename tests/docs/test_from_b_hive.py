"""The page for users of b-hive names all of b-hive, and what it names here exists."""

from __future__ import annotations

import re

import pytest

from configs.from_b_hive import translate
from configs.load import load_experiment
from tests.docs.pages import task_names, text_of

PAGE = text_of("docs/from-b-hive.md")
TASKS = """
DatasetConstructorTask TrainingTask InferenceTask ROCCurveTask WorkingPointTask InputHistogrammerTask
HistogramPlotterTask DeepJetRun DeepJetRunHLT DeepJetRunHLTPhase2 ParticleNetRunHLT
"""
PARAMETERS = """
config debug terminal-plot verbose seed dataset-version training-version test-dataset-version filelist test-filelist
coffea-worker chunk-size training-precision testing-precision model-name epochs batch-size n-threads loss-weighting
learning-rate optimizer betas eps lr-scheduler lr-decay-factor loss-function mixed-precision use-torch-compile
torch-compile-mode resume-training resume-epoch extend-training train-val-split n-train-files Nbins n-workers
weight-histo ylog attack
"""
FIELDS = """
treename global_features cpf_candidates npf_candidates vtx_features lt_candidates pair_candidates n_cpf_candidates
n_npf_candidates n_vtx_candidates n_lt_candidates n_pair_candidates *_custom_features truths processes default bins_pt
bins_eta reference_flavour pt_min pt_max eta_min eta_max process_weights processor dataset data_precision pt_key eta_key
integer_features classes
"""
OUTPUTS = """
processed_files.txt file_N.lz4 file_N.npz histogram.npy weights.json training_metrics.npz validation_metrics.npz
best_model.pt model_N.pt prediction.npy process.npy truth.npy kinematics.npy output.root working_point.pdf
wps_combined.csv input_histogram.npz
"""


def left_column(heading: str) -> str:
    """What stands for b-hive in the tables under a heading."""
    text = re.split(r"(?m)^## ", PAGE.split(f"\n## {heading}\n")[1])[0]
    return "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| "))


@pytest.mark.parametrize("name", TASKS.split())
def test_every_task_is_mapped(name: str) -> None:
    assert name in left_column("Commands")


@pytest.mark.parametrize("name", PARAMETERS.split())
def test_every_parameter_is_mapped(name: str) -> None:
    assert re.search(rf"`--{name}\b", left_column("Parameters"))


@pytest.mark.parametrize("name", FIELDS.split())
def test_every_field_is_mapped(name: str) -> None:
    assert f"`{name}`" in left_column("YAML")


@pytest.mark.parametrize("name", OUTPUTS.split())
def test_every_output_is_mapped(name: str) -> None:
    assert f"`{name}`" in left_column("Outputs")


def test_what_is_the_same_here_is_there() -> None:
    import workflows.taggers

    tasks = {name for name in TASKS.split() if name.endswith("Task")}
    assert tasks <= task_names()
    assert all(hasattr(workflows.taggers, name) for name in set(TASKS.split()) - tasks)
    for name in re.findall(r"(?m)^\| `(\w+)` \| `\1`", PAGE.split("\n## Configs\n")[1]):
        load_experiment(name)


def test_the_fields_of_the_page_are_those_that_are_translated() -> None:
    fields = {name for name in FIELDS.split() if not name.startswith("*")}
    not_in_yaml = {"integer_features", "classes", "default"}
    window = {"pt_min", "pt_max", "eta_min", "eta_max"}
    base: dict[str, object] = {"treename": "t", "truths": ["isB", "isC"], "global_features": ["jet_pt"]}
    lists = {"bins_pt": [1, 2], "bins_eta": [0, 1], "processes": ["TT"], "truths": ["isB"], "global_features": ["x"]}
    groups = {name for name in fields if name.endswith(("candidates", "_features")) and name[:2] != "n_"}
    base |= {name: ["x"] for name in groups - set(base) - not_in_yaml}
    for name in fields - not_in_yaml - window:
        given = lists.get(name, ["x", "y"] if name in groups else "1")
        # an unknown key is an error; a known one makes other files, or a note
        assert translate({**base, name: given}, "mine") != translate(base, "mine"), name
