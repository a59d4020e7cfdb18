"""Work that was stopped and can be continued: what luigi and the job are told."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from honeyguide.training.stopping import StoppedError


@contextlib.contextmanager
def going_on_later(checkpoint: Path) -> Iterator[None]:
    """Asks the job that this process is in to go back into the queue, where the block was stopped on its way.

    Where it has got no further than the time before, it would do so for ever: the job then fails, and the limit is that
    of failed attempts (``--retries``). luigi begins no other task in this process.

    Args:
        checkpoint: Where the state of the work is, with which it goes on.
    """
    try:
        yield
    except StoppedError as error:
        asked, note = os.environ.get("HONEYGUIDE_GO_ON_LATER"), checkpoint / "stopped_at.txt"
        where = str(error.details.get("where") or "")
        if asked and where and not (note.is_file() and note.read_text() == where):
            note.write_text(where)
            Path(asked).touch()
        if callable(signal.getsignal(signal.SIGUSR1)):  # luigi's own way to be told so
            signal.raise_signal(signal.SIGUSR1)
        raise
