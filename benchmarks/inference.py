"""Inference: events per CPU second and peak memory, beside the bare forward pass of the same network.

Run ``python -m benchmarks.inference [scale]`` from the root of the repository.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.synthetic_inputs import EVENTS, NETWORKS, cpu_seconds, measure_alone, peak_mb, ratio_row, write_inputs

_FACTOR = {"dense": 5, "Planar_ConvVAE": 2}  # a forward pass is cheaper than a training step
_ROUNDS = 5
BEAD = 434
"""Events per CPU second that BEAD 0.17.5 scores with its Planar_ConvVAE, one by one; see ``benchmarks/training.py``."""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns one row per network, with and without ROOT file: events per CPU second, peak memory, and the raw limit.

    Args:
        scale: 1 is 204,800 events for the dense network and 20,480 for the convolutional one.
    """
    cases = (("dense", True), ("dense", False), ("Planar_ConvVAE", True))
    return [measure_alone(_measure_one, network, root, scale) for network, root in cases]


def _measure_one(network: str, root: bool, scale: float) -> dict[str, Any]:
    import torch

    import models
    from honeyguide.data.model_inputs import ModelInputs, read_spec
    from honeyguide.data.streams import BatchStream
    from honeyguide.inference.run import infer
    from honeyguide.inference.settings import InferenceSettings
    from honeyguide.training.latents import write_latent_gaussians
    from honeyguide.training.weights import save_weights, write_description

    torch.set_num_threads(1)
    num_events = round(_FACTOR[network] * EVENTS[network] * scale)
    build = functools.partial(models.build, models.parse(NETWORKS[network]))
    settings = InferenceSettings(device="cpu", num_threads=1, root=root)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_inputs(folder / "inputs", "test", num_events)
        model = build(read_spec(folder / "inputs")).eval()
        for which in ("best", "last"):
            save_weights(model.state_dict(), folder / f"{which}.safetensors")
        write_latent_gaussians(model, [ModelInputs.open(path)], folder, batch_size=settings.batch_size)
        write_description(model, folder)
        batch = next(BatchStream([ModelInputs.open(path)], batch_size=settings.batch_size).batches())
        num_batches = -(-num_events // len(batch))

        def bare() -> None:
            with torch.inference_mode():
                for _ in range(num_batches):
                    model.outputs(batch)

        def whole() -> None:
            infer(folder, path, folder, build_model=build, settings=settings)

        model.outputs(batch)  # the first call sets things up
        if root:
            import uproot  # noqa: F401 (its import is no part of the rate)
        raw, used = cpu_seconds(bare, whole, rounds=_ROUNDS)
        share = num_events / (num_batches * len(batch))  # the bare loop's batches are all full
    return {
        "name": f"inference, {network}, {'HDF5 and ROOT' if root else 'HDF5'}",
        "events": num_events,
        "events_per_cpu_s": num_events / statistics.median(used),
        "peak_mb": peak_mb(),
        "reference": "bare forward pass",
        **ratio_row(raw, used, share=share),
        **({"times_bead": num_events / statistics.median(used) / BEAD} if network == "Planar_ConvVAE" else {}),
    }


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(  # noqa: T201
            f"{row['name']:32s} {row['events']:8d} events {row['events_per_cpu_s']:9,.0f} /CPU s "
            f"{row['peak_mb']:6.0f} MB  {row['ratio']:.3f} ({row['ratio_low']:.3f} - {row['ratio_high']:.3f}) of "
            f"{row['reference']}"
        )


if __name__ == "__main__":
    main()
