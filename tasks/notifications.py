"""A message when a task has ended: by mail, Mattermost, Slack or Telegram; off unless asked for."""

from __future__ import annotations

import multiprocessing
import platform
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

import law
import luigi

from honeyguide.errors import HoneyguideError

law.contrib.load("mattermost", "slack", "telegram")

SECONDS = 20.0
"""For so long a task waits for its message to be sent; law and the libraries that it calls would wait for ever."""

_START = time.monotonic()
_FAILED = multiprocessing.Value("b", 0)

logger = law.logger.get_logger(__name__)


def _parameter(kind: type, how: str) -> Any:
    said = f"send a message by {how} when this task has ended, and when one upstream of it has failed; default: off"
    return kind(default=False, significant=False, description=said)


class Notifying(law.Task):  # type: ignore[misc]
    """Tasks that can say that they have ended; who is told stands in ``[notifications]`` of law's configuration."""

    notify_mail = _parameter(law.NotifyMailParameter, "mail")
    notify_mattermost = _parameter(law.mattermost.NotifyMattermostParameter, "Mattermost")
    notify_slack = _parameter(law.slack.NotifySlackParameter, "Slack")
    notify_telegram = _parameter(law.telegram.NotifyTelegramParameter, "Telegram")

    exclude_index = True
    # workflows speak for their branches, here and in jobs
    exclude_params_branch: ClassVar[set[str]] = {
        "notify_mail", "notify_mattermost", "notify_slack", "notify_telegram",
    }  # fmt: skip


def install() -> None:
    """Makes luigi tell of tasks that end: the one on the command line when it is done, or the first that fails."""
    Notifying.event_handler(luigi.Event.SUCCESS)(_succeeded)
    Notifying.event_handler(luigi.Event.FAILURE)(_failed)
    Notifying.event_handler(luigi.Event.BROKEN_TASK)(_failed)


def _succeeded(task: Any) -> None:
    if task.is_root_task():
        _tell(task, None)


def _failed(task: Any, error: BaseException) -> None:
    with _FAILED.get_lock():  # shared with the worker processes: one message, not one of each of 1,000 branches
        if _FAILED.value:
            return
        _FAILED.value = 1
    _tell(task, error)


def _tell(task: Any, error: BaseException | None) -> None:
    """Sends a message by all ways that the task on the command line is given."""
    asked = law.parser.root_task()
    ways = [kind for name, kind in asked.get_params() if isinstance(kind, law.NotifyParameter) and getattr(asked, name)]
    if not ways:
        return
    said = getattr(task, "_message_cache", None) or ["-"]
    content = {
        "Task": str(task),
        "Host": platform.node(),
        "Duration": law.util.human_duration(seconds=round(time.monotonic() - _START)),
        "Last message": law.util.uncolored(said[-1]),
    }
    if error is not None:
        readable = isinstance(error, HoneyguideError)
        content["Traceback"] = str(error) if readable else "".join(traceback.format_exception(error))
    title = f"Task {task.task_family} {'succeeded' if error is None else 'failed'}!"
    for way in ways:
        _send(way.get_transport()["func"], error is None, title, OrderedDict(content))


def _send(transport: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    def send() -> None:
        before = set(threading.enumerate())
        try:
            transport(*args, **kwargs)
        except Exception as error:  # whatever a library does, the task has ended as it has
            logger.warning("no message was sent: %s: %s", type(error).__name__, error)
        # law sends some in threads of its own, and this process may be about to end
        for thread in set(threading.enumerate()) - before - {threading.current_thread()}:
            thread.join()

    sender = threading.Thread(target=send, name="notification", daemon=True)
    sender.start()
    sender.join(SECONDS)
    if sender.is_alive():
        logger.warning("no message was sent within %.0f s", SECONDS)
