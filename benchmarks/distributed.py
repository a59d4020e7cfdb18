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
from honeyguide.training.ranks import Member

_BATCH = 256
_EPOCHS = 3  # of which the first is not counted
_ROUNDS = 3

Times = tuple[float, float]


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns two rows per network: two processes that share batches of 256, and that have 256 events each.

    Rates are ratios to those of one process with batches of 256: median, lowest and highest of the rounds.

    Args:
        scale: 1 is 20,000 events for the dense network and 4,000 for the convolutional one.
    """
    with ProcessPoolExecutor(max_workers=2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [row for network in NETWORKS for row in _measure_one(pool, network, scale)]


def _measure_one(pool: ProcessPoolExecutor, network: str, scale: float) -> list[dict[str, Any]]:
    num_events = round(EVENTS[network] * scale)
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name) / "inputs", "train", num_events)
        train = functools.partial(_train, pool, Path(name), network)
        rounds = [(train(1, _BATCH), train(2, _BATCH), train(2, 2 * _BATCH)) for _ in range(_ROUNDS)]
    alone, *pairs = zip(*rounds, strict=True)
    rows = []
    for kind, together in zip(("256 in all", "256 each"), pairs, strict=True):
        row: dict[str, Any] = {
            "name": f"training, {network}, 2 processes, {kind}",
            "events": num_events,
            "reference": "1 process",
            "events_per_s_of_1": num_events / min(wall for wall, _ in alone),
            "events_per_cpu_s_of_1": num_events / min(cpu for _, cpu in alone),
        }
        for number, unit in enumerate(("", "_per_cpu_s")):
            ratios = [one[number] / two[number] for one, two in zip(alone, together, strict=True)]
            row[f"ratio{unit}"] = statistics.median(ratios)
            row[f"spread{unit}"] = f"{min(ratios):.3f} to {max(ratios):.3f}"
        rows.append(row)
    return rows


def _train(pool: ProcessPoolExecutor, folder: Path, network: str, size: int, batch_size: int) -> Times:
    """Returns wall and CPU seconds of an epoch, the CPU seconds of all processes added up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    ranks = [
        pool.submit(_take_part, folder, network, Member(rank, size, rank, address), batch_size) for rank in range(size)
    ]
    times = [rank.result() for rank in ranks]
    return max(wall for wall, _ in times), sum(cpu for _, cpu in times)


def _take_part(folder: Path, network: str, member: Member, batch_size: int) -> Times:
    """Returns wall and CPU seconds of an epoch in one process, the mean over all epochs but the first."""
    import models
    from honeyguide.training.progress import SilentProgress
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
            epochs=_EPOCHS, batch_size=batch_size, tensorboard=False, device="cpu", num_threads=1, processes=member.size
        ),
        seed=1,
        provenance={},
        session=Session(progress=Clock(), member=member),
    )
    (wall, cpu), (last_wall, last_cpu) = ends[0], ends[-1]
    return (last_wall - wall) / (_EPOCHS - 1), (last_cpu - cpu) / (_EPOCHS - 1)


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(  # noqa: T201
            f"{row['name']:42s} {row['events']:7d} events, of {row['reference']} {row['events_per_s_of_1']:,.0f} /s: "
            f"{row['ratio']:.3f} ({row['spread']}), per CPU second {row['ratio_per_cpu_s']:.3f} "
            f"({row['spread_per_cpu_s']})"
        )


if __name__ == "__main__":
    main()
