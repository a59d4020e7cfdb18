"""A user's mistake is shown as its message, wherever luigi reports it from; anything else keeps its traceback."""

from __future__ import annotations

import logging
import sys
import traceback

import pytest
from luigi import cmdline_parser

from honeyguide.errors import ConfigError, DataError
from tasks.errors import ReadableErrors, install
from tasks.generate import GenerateEventsTask

assert GenerateEventsTask  # known to the command line


def record(error: Exception, *, in_text: bool) -> logging.LogRecord:
    try:
        raise error
    except type(error) as caught:
        text = f"Will not run it:\n{traceback.format_exc()}" if in_text else "it failed"
        info = None if in_text else (type(caught), caught, caught.__traceback__)
    return logging.LogRecord("luigi-interface", logging.WARNING, __file__, 1, text, None, info)


@pytest.mark.parametrize("in_text", [True, False])
def test_a_mistake_is_its_message(in_text):
    shown = record(DataError("no file matches", got="a-*.csv", hint="look"), in_text=in_text)
    assert ReadableErrors().filter(shown)
    assert "no file matches\n  got: a-*.csv\n  hint: look" in logging.Formatter().format(shown)
    assert "Traceback" not in logging.Formatter().format(shown)


@pytest.mark.parametrize("in_text", [True, False])
def test_a_defect_keeps_its_traceback(in_text):
    shown = record(KeyError("x"), in_text=in_text)
    assert ReadableErrors().filter(shown)
    assert "Traceback" in logging.Formatter().format(shown)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--memory", "lots", "--memory has a wrong value"),
        ("--ship", "conda", "--ship has a wrong value"),
        ("--cpus", "two", "--cpus has a wrong value"),
        ("--workflow", "slrm", "there is no such workflow"),
    ],
)
def test_a_wrong_value_of_an_option_is_said_with_its_name(option, value, said):
    with pytest.raises((ValueError, ConfigError)) as caught:
        cmdline_parser.CmdlineParser(["GenerateEventsTask", option, value]).get_task_obj()
    shown = record(caught.value, in_text=False)
    assert ReadableErrors().filter(shown)
    text = logging.Formatter().format(shown)
    assert said in text
    assert f"got: {value}" in text
    assert "Traceback" not in text


def test_what_is_not_there_yet_is_no_defect():
    shown = record(RuntimeError("Unfulfilled dependency at run time: Upstream__1"), in_text=False)
    assert ReadableErrors().filter(shown)
    text = logging.Formatter().format(shown)
    assert "Upstream__1" in text
    assert "--no-poll" in text
    assert "Traceback" not in text


def test_ctrl_c_is_no_defect(capsys):
    install()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    said = capsys.readouterr().err
    assert said.startswith("interrupted")
    assert "Traceback" not in said
