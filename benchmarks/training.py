"""Training: events per CPU second and peak memory, beside the bare forward and backward of the same network.

Run ``python -m benchmarks.training [scale]`` from the root of the repository.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.synthetic_inputs import EVENTS, NETWORKS, cpu_seconds, measure_alone, peak_mb, ratio_row, write_inputs

_BATCH = 256
_CASES = (("dense", None), ("dense", 0), ("Planar_ConvVAE", None))  # network, budget of resident memory in MiB
_ROUNDS = 5
_EPOCHS = 10  # by which a long and a short training differ: what comes once in each drops out
BEAD = 771
"""Events per CPU second and epoch that BEAD 0.17.5 trains its Planar_ConvVAE with at batch size 256: torch 2.13 on a
CPU of two shared cores, one thread, the pass over all events after the last epoch counted in; single runs there vary by
some 40 %."""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns one row per network: events, events per CPU second, peak memory, and the raw limit beside it.

    Args:
        scale: 1 is 40,960 events for the dense network and 10,240 for the convolutional one, in all epochs together.
    """
    return [measure_alone(_measure_one, network, resident, scale) for network, resident in _CASES]


def _measure_one(network: str, resident_mb: int | None, scale: float) -> dict[str, Any]:
    import torch

    import models
    from honeyguide.data.model_inputs import ModelInputs, read_spec
    from honeyguide.data.streams import BatchStream
    from honeyguide.nn.model import weighted_sum
    from honeyguide.training.run import train
    from honeyguide.training.settings import TrainingSettings

    torch.set_num_threads(1)
    per_epoch = round(EVENTS[network] * scale / _EPOCHS)
    num_events = per_epoch * _EPOCHS
    build = functools.partial(models.build, models.parse(NETWORKS[network]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_inputs(folder / "inputs", "train", per_epoch)
        settings = TrainingSettings(
            epochs=1, batch_size=_BATCH, tensorboard=False, device="cpu", num_threads=1, resident_mb=resident_mb
        )
        model = build(read_spec(folder / "inputs"))
        batch = next(BatchStream([ModelInputs.open(path)], batch_size=_BATCH).batches())
        num_batches = _EPOCHS * -(-per_epoch // _BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def bare(with_step: bool) -> None:
            for _ in range(num_batches):
                model.zero_grad(set_to_none=True)
                weighted_sum(model.loss(batch), model.config.terms).backward()  # type: ignore[no-untyped-call]
                if with_step:
                    optimizer.step()

        def whole(epochs: int) -> None:
            chosen = settings.model_copy(update={"epochs": epochs})
            train(folder / "inputs", folder, build_model=build, settings=chosen, seed=1, provenance={})

        model.loss(batch)  # the first call sets things up
        runs = (lambda: bare(False), lambda: bare(True), lambda: whole(_EPOCHS + 1), lambda: whole(1))
        raw, stepped, long, short = cpu_seconds(*runs, rounds=_ROUNDS)
        used = [more - less for more, less in zip(long, short, strict=True)]
        share = num_events / (num_batches * len(batch))  # the bare loop's batches are all full
    return {
        "name": f"training, {network}, {'resident' if resident_mb is None else 'streamed'}",
        "events": num_events,
        "events_per_cpu_s": num_events / statistics.median(used),
        "once_cpu_s": statistics.median(short) - statistics.median(used) / _EPOCHS,
        "peak_mb": peak_mb(),
        "reference": "bare forward and backward",
        **ratio_row(raw, used, share=share),
        "ratio_with_optimizer": ratio_row(stepped, used, share=share)["ratio"],
        **({"times_bead": num_events / statistics.median(used) / BEAD} if network == "Planar_ConvVAE" else {}),
    }


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(  # noqa: T201
            f"{row['name']:28s} {row['events']:8d} events {row['events_per_cpu_s']:9,.0f} /CPU s "
            f"{row['peak_mb']:6.0f} MB  {row['ratio']:.3f} ({row['ratio_low']:.3f} - {row['ratio_high']:.3f}) of "
            f"{row['reference']}, "
            f"{row['ratio_with_optimizer']:.3f} of that with the optimizer's step"
        )


if __name__ == "__main__":
    main()
