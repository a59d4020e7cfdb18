"""Mistakes of the user as one readable message, without a traceback; everything else with its traceback."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType

from honeyguide.errors import ConfigError, DataError, HoneyguideError

_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n.*^honeyguide\.errors\.\w+: ", re.DOTALL | re.MULTILINE)


class ReadableErrors(logging.Filter):
    """Turns luigi's record of a failed task into the error's own message where the error is a user's mistake."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns True always; the record is changed in place."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, ValueError):
            error = _wrong_argument(error) or error
        elif isinstance(error, RuntimeError) and str(error).startswith("Unfulfilled depend"):
            error = DataError(
                "what this task reads is not there, or not yet",
                got=str(error),
                hint="after --no-poll jobs may still run: the same command without it waits for them",
            )
        if isinstance(error, HoneyguideError):
            said = "" if record.getMessage().startswith("Uncaught exception") else record.getMessage() + "\n"
            record.msg, record.args = "%s%s", (said, error)
            record.exc_info = record.exc_text = None
        elif isinstance(record.msg, str) and _TRACEBACK.search(record.msg):
            # where completeness can't be told (no source files, say), luigi has the traceback in the text itself
            record.msg = _TRACEBACK.sub("", record.msg)
        return True


def _wrong_argument(error: ValueError) -> ConfigError | None:
    """Returns what to say where the value of an option could not be read; None where it is another error."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        # luigi and law read the options there, and their messages do not name them
        if frame.f_code.co_name == "_get_task_kwargs" and "param_name" in frame.f_locals:
            option = "--" + frame.f_locals["param_name"].replace("_", "-")
            return ConfigError(f"{option} has a wrong value: {error}", got=frame.f_locals.get("attr"))
    return None


def install() -> None:
    """Makes every HoneyguideError of this process readable, whether it ends a task or the command line, and Ctrl-C."""
    logger = logging.getLogger("luigi-interface")
    if not any(isinstance(item, ReadableErrors) for item in logger.filters):
        logger.addFilter(ReadableErrors())
        sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, HoneyguideError):
        sys.stderr.write(f"error: {error}\n")
    elif issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted: what is complete stays, and the same command goes on from there\n")
    else:
        sys.__excepthook__(kind, error, trace)
