"""The recipes of CONTRIBUTING.md work as they are printed, and are as long as they say."""

from __future__ import annotations

import importlib
import importlib.util
import inspect

import pytest

import models
from tests.docs.conftest import line_of
from tests.docs.pages import blocks, text_of
from tests.models import test_contract as contract

CONTRACT = [
    name
    for name, value in vars(contract).items()
    if name.startswith("test_") and "family" in inspect.signature(value).parameters
]


@pytest.mark.parametrize("name", CONTRACT)
def test_the_model_family_keeps_the_contract(name, followed, tmp_path):
    for number, level in enumerate(contract.SPECS):
        folder = tmp_path / str(number)
        folder.mkdir()
        function = getattr(contract, name)
        more = {"tmp_path": folder} if "tmp_path" in inspect.signature(function).parameters else {}
        function(family="linear", variant={}, level=level, **more)


def test_the_contract_is_more_than_nothing():
    assert len(CONTRACT) >= 8


def test_the_family_reads_its_own_settings_alone(followed, study):
    from configs.load import load_experiment

    recipe = next(b.text for b in blocks(text_of("CONTRIBUTING.md")) if b.text.startswith("extends:"))
    (study / "linear.yaml").write_text(recipe)
    assert load_experiment("linear.yaml").settings.model == models.parse({"family": "linear", "latent_dim": 2})


def test_the_task_s_function_passes_its_test(followed, tmp_path):
    path = followed / "tests" / "evaluation" / "test_cutflow.py"
    spec = importlib.util.spec_from_file_location("recipe_test_cutflow", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_counts_of_a_file_with_a_bad_row(tmp_path)


def test_the_task_follows_the_rules_and_its_dataset(followed, study):
    task = importlib.import_module("tasks.cutflow").CutflowTask
    assert len(inspect.getsource(task.run).splitlines()) <= 20
    dataset = "dataset.samples.qcd_mpi.generate.seed=99"
    assert task().digest != task(set=(dataset,)).digest
    assert task().digest == task(set=("training.epochs=3",)).digest
    assert line_of(blocks(text_of("CONTRIBUTING.md")), "tasks.cutflow").strip() == task.__module__


def test_recipes_are_as_long_as_they_say():
    page = text_of("CONTRIBUTING.md").replace("\n", " ")
    lines = {block.file: block.text.count("\n") for block in blocks(text_of("CONTRIBUTING.md")) if block.file}
    family = sum(number for file, number in lines.items() if file.startswith("models/"))
    assert f"hidden layers, {family} lines" in page
    assert f"counts events, {lines['honeyguide/evaluation/cutflow.py']} lines" in page
    assert f"calls the function; {lines['tasks/cutflow.py']} lines" in page
    (dataset,) = [b for b in blocks(text_of("README.md")) if b.file == "my_events.yaml"]
    number = dataset.text.count("\n") - 1
    assert f"a signal has {number} lines" in page
