"""``law run`` as a command of its own, on a store of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.forked import TIMEOUT, ended, forked

ROOT = Path(__file__).resolve().parent.parent
KILLED = ROOT / "tests" / "end_to_end" / "killed_law.py"

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

    def __call__(self, *arguments: str, killed: tuple[str, str] | None = None, fresh: bool = False) -> Outcome:
        """Runs ``law run``, in a process that kills itself in the middle of a write where ``killed`` says so.

        Importing takes longer than most commands do: they are forked from a process that has imported the library
        (:mod:`tests.fork_server`), unless the command shall be ``fresh``, as it is from a shell.
        """
        command = [str(KILLED), *killed] if killed else ["law", "run"]
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
        output = self.folder / "output.txt"
        output.write_text("")
        run = _fresh if fresh else forked
        returncode = run([*command, *arguments], environment, self.folder, (output, output))
        return Outcome(returncode, output.read_text())


def _fresh(command: list[str], environment: dict[str, str], folder: Path, streams: tuple[Path, Path]) -> int:
    law = shutil.which("law", path=str(Path(sys.executable).parent)) or "law"
    with streams[0].open("a") as file:
        process = subprocess.Popen(
            [law, *command[1:]],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    with ended(process.pid):
        return process.wait(timeout=TIMEOUT)
