"""Every ``law run`` in README, docs and the docstrings of tasks names tasks, options, configs and keys that exist."""

from __future__ import annotations

import importlib
import inspect

import law
import luigi
import pytest

from honeyguide.errors import ConfigError
from tests.docs.pages import PAGES, ROOT, law_runs, task_names

OF_LUIGI = {"workers": 1, "help": 0, "local_scheduler": 1, "scheduler_port": 1}
COMMANDS = [
    pytest.param(words, id=f"{page.name}-{n}") for page in PAGES for n, words in enumerate(law_runs(page.read_text()))
]
DOCSTRINGS = {
    name: inspect.getdoc(getattr(module, name)) or ""
    for folder in ("tasks", "workflows")
    for path in sorted((ROOT / folder).glob("*.py"))
    for module in [importlib.import_module(f"{folder}.{path.stem}")]
    for name in sorted(task_names() & set(vars(module)))
    if getattr(module, name).__module__ == module.__name__
}
COMMANDS += [
    pytest.param(words, id=f"{name}-{n}") for name, doc in DOCSTRINGS.items() for n, words in enumerate(law_runs(doc))
]


def check(words: tuple[str, ...]) -> law.Task:
    """Returns the task of a command line, after its parameters, config and overrides were accepted."""
    name, *rest = words
    known = {**{task.__name__: task for task in all_tasks(law.Task)}}
    assert name in known, f"there is no task {name}"
    parameters = dict(known[name].get_params())
    given = {}
    while rest:
        option = rest.pop(0)
        assert option.startswith("--"), f"{option} is no option"
        key = option.removeprefix("--").replace("-", "_")
        if key in OF_LUIGI:
            del rest[: OF_LUIGI[key]]
            continue
        owner, _, of_owner = option.removeprefix("--").partition("-")
        if owner in known:  # of a task upstream
            upstream = dict(known[owner].get_params())
            upstream[of_owner.replace("-", "_")].parse(rest.pop(0))
            continue
        assert key in parameters, f"{name} has no parameter {option}"
        if isinstance(parameters[key], luigi.BoolParameter) and (not rest or rest[0].startswith("--")):
            continue
        values = [rest.pop(0)]
        while rest and not rest[0].startswith("--") and key == "scan":  # takes several words
            values.append(rest.pop(0))
        value = parameters[key].parse(" ".join(values))
        if key not in known[name].interactive_params:
            given[key] = value
    task = known[name](**given)
    if "overlay" in parameters:
        task.requires()  # the trainings that it names have configs and overrides, too
    return task


def all_tasks(base: type) -> list[type]:
    below = base.__subclasses__()
    return [*below, *(task for cls in below for task in all_tasks(cls))]


@pytest.mark.parametrize("words", COMMANDS)
def test_command_is_accepted(words, followed, study):
    importlib.import_module("tasks.cutflow")
    check(words)


def test_pages_and_docstrings_have_commands():
    assert len(COMMANDS) > 30
    assert all(law_runs(doc)[0][0] == name for name, doc in DOCSTRINGS.items())
    for name in DOCSTRINGS:
        second = DOCSTRINGS[name].splitlines()[2].strip()
        assert second.startswith(f"law run {name}"), "examples come right after the first line"


@pytest.mark.parametrize(
    "line",
    [
        "law run NoSuchTask --config quickstart",
        "law run TrainingTask --config no_such_config",
        "law run TrainingTask --config quickstart --epoch 3",
        "law run TrainingTask --config quickstart --epochs many",
        "law run TrainingTask --config quickstart --set training.epoch=3",
        'law run ROCCurveTask --config quickstart --overlay "a: no_such_config"',
        'law run ROCCurveTask --config quickstart --overlay "a: model.latent=3"',
    ],
)
def test_wrong_command_is_found(line):
    with pytest.raises((AssertionError, ConfigError, ValueError)):
        check(law_runs(line)[0])
