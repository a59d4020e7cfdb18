"""``--set`` on the command line: one option or several."""

from __future__ import annotations

import pytest
from luigi.cmdline_parser import CmdlineParser

from honeyguide.errors import ConfigError
from tasks.preprocessing import PreprocessTask

TASK = ["PreprocessTask", "--config", "quickstart"]


def given(*options: str) -> tuple[str, ...]:
    with CmdlineParser.global_instance([*TASK, *options]) as parser:
        task = parser.get_task_obj()
    assert isinstance(task, PreprocessTask)
    return task.set


def test_every_set_counts() -> None:
    several = given("--set", "preprocess.num_jets=3,dataset.filelist=null", "--set", "preprocess.test_fraction=0.4")
    assert several == given("--set", "preprocess.test_fraction=0.4,dataset.filelist=null,preprocess.num_jets=3")
    assert len(several) == 3


def test_two_sets_that_contradict_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"preprocess\.num_jets is set twice"):
        given("--set", "preprocess.num_jets=3", "--set", "preprocess.num_jets=4")
