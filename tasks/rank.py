"""One of the processes that train a model together, as torchrun starts it: ``torchrun ... -m tasks.rank JOB.json``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from honeyguide.errors import HoneyguideError
from tasks.training_job import TrainingJob

STOP = b"s"


def main() -> None:
    """Trains, and leaves a record where it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path, help="the training")
    parser.add_argument("--obey-stdin", action="store_true", help="stop at an 's' on standard input, die at its end")
    options = parser.parse_args()
    if options.obey_stdin:
        os.dup2(1, 2)  # torchrun's own words go to standard error
        threading.Thread(target=obey, daemon=True).start()
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    from honeyguide.training.ranks import Member  # torch: not for whoever only looks at tasks

    try:
        TrainingJob.model_validate_json(options.job.read_text()).run(Member(rank, size, local, address))
    except Exception as error:
        record_path(options.job, rank).write_text(json.dumps(as_record(error)))
        os._exit(1)  # and not by the usual way, which would wait for the others


def record_path(job: Path, who: int | str) -> Path:
    """Returns where the process of that rank, or the launcher of that node, says why it failed."""
    return job.with_name(f"{job.stem}-error-{who}.json")


def as_record(error: Exception) -> dict[str, Any]:
    """Returns an error as plain values."""
    record: dict[str, Any] = {"time": time.time(), "kind": type(error).__name__}
    if isinstance(error, HoneyguideError):
        details = {name: str(value) for name, value in error.details.items() if value is not None}
        return record | {"what": error.what, "details": details}
    return record | {"text": "".join(traceback.format_exception(error))}


def obey() -> None:
    """Turns a byte on standard input into SIGTERM, and its end, which is the end of the launcher, into this one's."""
    while os.read(0, 1) == STOP:
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(1)


if __name__ == "__main__":
    main()
