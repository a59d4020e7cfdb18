"""``law run`` as a command of its own, on a store of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENT = """
extends: quickstart
dataset: DATASET.yaml
training: {epochs: 25, batch_size: 64, tensorboard: false}
"""


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        returncode: Its exit status.
        text: Standard output and error.
    """

    returncode: int
    text: str

    @property
    def ran(self) -> dict[str, int]:
        """Number of tasks that ran successfully, by family."""
        block = re.search(r"ran successfully:\n((?:    - .*\n)+)", self.text)
        lines = block.group(1).splitlines() if block else []
        return {family: int(number) for number, family in (re.findall(r"- (\d+) (\w+)\(", line)[0] for line in lines)}


@dataclass
class Law:
    """A store, and law commands on it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Where the outputs are."""
        return self.folder / "store"

    def write_config(self, name: str, dataset: str) -> str:
        """Writes an experiment and its dataset and returns the experiment's path."""
        (self.folder / f"{name}_data.yaml").write_text(dataset)
        (self.folder / f"{name}.yaml").write_text(EXPERIMENT.replace("DATASET", f"{name}_data"))
        return str(self.folder / f"{name}.yaml")

    def __call__(self, *arguments: str, killed: tuple[str, str] | None = None) -> Outcome:
        """Runs ``law run``, in a process that kills itself in the middle of a write where ``killed`` says so."""
        law = shutil.which("law", path=str(Path(sys.executable).parent)) or "law"
        script = [sys.executable, str(ROOT / "tests" / "end_to_end" / "killed_law.py"), *(killed or ())]
        command = script if killed else [law, "run"]
        environment = {
            **os.environ,
            "HONEYGUIDE_STORE": str(self.store),
            "LAW_HOME": str(self.folder / "law"),
            "LAW_CONFIG_FILE": str(ROOT / "law.cfg"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **self.environment,
        }
        # to a file: law's helper processes outlive a kill, and would hold a pipe open
        with (self.folder / "output.txt").open("w+") as output:
            process = subprocess.Popen(
                [*command, *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
            try:
                returncode = process.wait(timeout=300)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            output.seek(0)
            return Outcome(returncode, output.read())
