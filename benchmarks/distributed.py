"""Training with two processes beside one: events per second and per CPU second, on one machine.

Run ``python -m benchmarks.distributed [scale]`` from the root of the repository. On a machine with fewer than two free
cores, the ratio of wall times says more about the machine than about the code; that of CPU times does not.
"""

from __future__ import annotations

import functools
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.synthetic_inputs import EVENTS, NETWORKS, write_inputs

_BATCH = 256  # of all processes together
_EPOCHS = 3  # of which the first is not counted
_ROUNDS = 3

Times = tuple[float, float]


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns one row per network: rates with one process, and with two as a ratio to it (median, lowest, highest).

    Args:
        scale: 1 is 20,000 events for the dense network and 4,000 for the convolutional one.
    """
    return [_measure_one(network, scale) for network in NETWORKS]


def _measure_one(network: str, scale: float) -> dict[str, Any]:
    num_events = round(EVENTS[network] * scale)
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name) / "inputs", "train", num_events)
        rounds = [[_train(Path(name), network, size) for size in (1, 2)] for _ in range(_ROUNDS)]
    alone = [one for one, _ in rounds]
    row: dict[str, Any] = {
        "name": f"training, {network}, 2 processes",
        "events": num_events,
        "events_per_s_of_1": num_events / min(wall for wall, _ in alone),
        "events_per_cpu_s_of_1": num_events / min(cpu for _, cpu in alone),
        "reference": "1 process",
    }
    for number, kind in enumerate(("", "_per_cpu_s")):
        ratios = [one[number] / two[number] for one, two in rounds]
        row[f"ratio{kind}"] = statistics.median(ratios)
        row[f"spread{kind}"] = f"{min(ratios):.3f} to {max(ratios):.3f}"
    return row


def _train(folder: Path, network: str, size: int) -> Times:
    """Returns wall and CPU seconds of an epoch, the CPU seconds of all processes added up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with ProcessPoolExecutor(max_workers=size, mp_context=multiprocessing.get_context("spawn")) as pool:
        ranks = [pool.submit(_take_part, folder, network, rank, size, address) for rank in range(size)]
        times = [rank.result() for rank in ranks]
    return max(wall for wall, _ in times), sum(cpu for _, cpu in times)


def _take_part(folder: Path, network: str, rank: int, size: int, address: str) -> Times:
    """Returns wall and CPU seconds of an epoch in one process, the mean over all epochs but the first."""
    import models
    from honeyguide.training.progress import SilentProgress
    from honeyguide.training.ranks import Member
    from honeyguide.training.run import Session, train
    from honeyguide.training.settings import TrainingSettings

    ends: list[Times] = []

    class Clock(SilentProgress):
        def epoch(self, record: Any) -> None:
            """Notes the times."""
            del record
            ends.append((time.perf_counter(), time.process_time()))

    train(
        folder / "inputs",
        folder,
        build_model=functools.partial(models.build, models.parse(NETWORKS[network])),
        settings=TrainingSettings(
            epochs=_EPOCHS, batch_size=_BATCH, tensorboard=False, device="cpu", num_threads=1, processes=size
        ),
        seed=1,
        provenance={},
        session=Session(progress=Clock(), member=Member(rank, size, rank, address)),
    )
    (wall, cpu), (last_wall, last_cpu) = ends[0], ends[-1]
    return (last_wall - wall) / (_EPOCHS - 1), (last_cpu - cpu) / (_EPOCHS - 1)


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(  # noqa: T201
            f"{row['name']:30s} {row['events']:7d} events, of {row['reference']} {row['events_per_s_of_1']:,.0f} /s: "
            f"{row['ratio']:.3f} ({row['spread']}), per CPU second {row['ratio_per_cpu_s']:.3f} "
            f"({row['spread_per_cpu_s']})"
        )


if __name__ == "__main__":
    main()
