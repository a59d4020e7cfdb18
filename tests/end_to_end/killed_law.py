"""``law run`` in a process that is killed in the middle of a write: python killed_law.py FAMILY POINT law-arguments...

POINT is ``file`` (as soon as the first file in the temporary folder has content) or ``rename`` (when everything is
written, before the folder gets its name). The kill is a real SIGKILL of this very process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def main() -> None:
    """Runs law with the kill in place."""
    family, point, *arguments = sys.argv[1:]
    import honeyguide.io.atomic as atomic
    import tasks.targets as targets

    whole = atomic.atomic_folder

    @contextmanager
    def killing(path: Path, *, metadata: Any = None) -> Iterator[Path]:
        with whole(path, metadata=metadata) as folder:
            if family in path.parts and point == "file":
                threading.Thread(target=_kill_at_first_content, args=(folder,), daemon=True).start()
            yield folder
            if family in path.parts:
                os.kill(os.getpid(), signal.SIGKILL)

    targets.atomic_folder = killing
    sys.argv = ["law", "run", *arguments]
    from law.cli.cli import run

    sys.exit(run())


def _kill_at_first_content(folder: Path) -> None:
    while not any(file.is_file() and file.stat().st_size for file in folder.rglob("*")):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)


main()
