"""A workflow whose branches write down each time that they run, and fail where they are told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import luigi

from tasks.base import store
from tasks.remote import RemoteWorkflow


class CountedTask(RemoteWorkflow):
    """A branch appends to ``<store>/executions/<branch>``, and writes its number."""

    branches_wanted = luigi.IntParameter(default=4)
    fails = luigi.Parameter(default="")  # "2:once", "2:always", "2:kill" (once, by SIGKILL), several with commas
    seconds = luigi.FloatParameter(default=0.0, significant=False)
    gate = luigi.BoolParameter(default=False, significant=False)  # wait for the file <store>/gate

    def create_branch_map(self) -> list[int]:
        """Returns the numbers."""
        return list(range(self.branches_wanted))

    def identity(self) -> dict[str, Any]:
        """Returns the number."""
        return {"counted": self.branch_data, "of": self.branches_wanted, "fails": self.fails}

    def run(self) -> None:
        """Counts, and writes the number."""
        record = Path(store(), "executions", str(self.branch))
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        while self.gate and not Path(store(), "gate").exists():
            time.sleep(0.1)
        how = dict(item.split(":") for item in self.fails.split(",") if item).get(str(self.branch))
        if how == "always" or (how and len(record.read_text().split()) == 1):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"branch {self.branch} fails {how}")
        with self.write_output() as folder:
            (folder / "number.txt").write_text(str(self.branch_data))
