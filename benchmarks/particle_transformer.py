"""Particle Transformer: training steps and inference beside the literal form of the published layers.

Run ``python -m benchmarks.particle_transformer [scale]`` from the root of the repository. Jets have 128 slots: full, or
as many objects as top-tagging jets have (arXiv:1902.09914: 49 on average; here drawn). Both networks have the same
weights, and give the same logits (asserted). The literal one is padded, as published, and on a CPU takes a large batch
in pieces. Where weaver-core is installed, its current network, which leaves padding out of pairs and cuts batches to
their longest jet, stands beside it too.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.synthetic_inputs import cpu_seconds, measure_alone, peak_mb, ratio_row

if TYPE_CHECKING:
    import torch

    from honeyguide.data.batch import Objects

_SLOTS = 128
_BATCH = 512
_LITERAL_BATCH = 64  # on a CPU: a training step of the literal form takes some 65 MB a jet
_ROUNDS = 3
_TOLERANCE = 1e-3
"""Largest difference of logits, in their spread: masses of pairs are small differences of large numbers."""
_PEAK = {"H100": 989e12, "H200": 989e12}
"""FLOP per second of dense bf16 products, from NVIDIA's data sheets of the H100 SXM and the H200 (without sparsity)."""

Step = Callable[[], object]
Pieces = list[Callable[[], "torch.Tensor"]]
"""Each returns the logits of some of the jets."""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns one row for training and one for inference, for full and for real jets, each in a process of its own.

    Args:
        scale: 1 is a batch of 64 jets for the CPU, 8 one of 512; on an accelerator it is 512 in any case.
    """
    import torch

    cases = [(training, real) for real in (True, False) for training in (True, False)]
    if torch.cuda.is_available():
        return [measure_alone(_on_accelerator, training, real) for training, real in cases]
    return [measure_alone(_on_cpu, training, real, round(scale * _BATCH / 8)) for training, real in cases]


def make_jets(number: int, *, real: bool) -> Objects:
    """Returns jets of massive particles around an axis, in 128 slots.

    Args:
        number: How many.
        real: As many particles as top-tagging jets have, 49 on average with a standard deviation of 17; else 128.
    """
    import torch

    from honeyguide.data.batch import Objects

    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    count = (48.8 + 17 * normal(number, 1)).round().clamp(8, _SLOTS) if real else torch.full((number, 1), _SLOTS)
    mask = torch.arange(_SLOTS) < count
    pt, eta, phi = (normal(number, _SLOTS) + 1).exp(), 0.3 * normal(number, _SLOTS), 0.3 * normal(number, _SLOTS)
    momenta = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()], -1)
    energy = (momenta.square().sum(-1, keepdim=True) + 0.14**2).sqrt()
    empty = ~mask.unsqueeze(-1)
    features = normal(number, _SLOTS, 7).masked_fill(empty, 0)
    return Objects(features, mask, torch.cat([momenta, energy], -1).masked_fill(empty, 0))


def _networks() -> dict[str, torch.nn.Module]:
    """Returns ours with its classifier, the literal one, and weaver's if there is one, all with the same weights."""
    from torch import nn

    from benchmarks.literal.particle_transformer import LiteralParticleTransformer
    from honeyguide.nn.particle_transformer import ParticleTransformer
    from honeyguide.nn.weaver_particle_transformer import to_weaver

    ours = nn.ModuleDict({"transformer": ParticleTransformer([7]), "to_logits": nn.Linear(128, 2)})
    named = {re.sub("^tr", "network.tr", name): tensor for name, tensor in ours.state_dict().items()}
    state = to_weaver(named)
    literal = LiteralParticleTransformer(7, 2)
    literal.load_state_dict({re.sub(r"in_proj\.", "in_proj_", name): tensor for name, tensor in state.items()})
    networks = {"ours": ours, "literal": literal}
    try:
        from weaver.nn.model.ParticleTransformer import ParticleTransformer as Weaver  # type: ignore[import-not-found]
    except ImportError:
        return networks
    networks["weaver"] = Weaver(7, 2)
    networks["weaver"].load_state_dict(state)
    return networks


def _logits(name: str, network: torch.nn.Module, jets: Objects, *, together: int = _BATCH) -> Pieces:
    """Returns what makes the logits of the jets, of so many at a time."""
    return [
        _piece(name, network, jets.map(lambda tensor, first=first: tensor[first : first + together]))  # type: ignore[misc]
        for first in range(0, len(jets.mask), together)
    ]


def _piece(name: str, network: torch.nn.Module, jets: Objects) -> Callable[[], torch.Tensor]:
    assert jets.vectors is not None, "these jets have four-momenta"
    vectors = jets.vectors
    if name == "ours":
        return lambda: network.to_logits(network.transformer([jets]))  # type: ignore[operator]
    if name == "literal":
        return lambda: network(jets.features, vectors, jets.mask)
    inputs = (jets.features.transpose(1, 2).contiguous(), vectors.transpose(1, 2).contiguous(), jets.mask[:, None])
    return lambda: network(*inputs)


def _step(network: torch.nn.Module, pieces: Pieces, *, training: bool) -> Step:
    """Returns one step: forward and backward, piece by piece, or inference."""
    import torch

    network.train(training)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        for logits in pieces:
            found = logits()
            target = torch.arange(len(found), device=found.device) % 2
            loss = torch.nn.functional.cross_entropy(found.float(), target)
            (loss / len(pieces)).backward()  # type: ignore[no-untyped-call]

    def infer() -> None:
        with torch.inference_mode():
            for logits in pieces:
                logits()

    return train if training else infer


def _check(logits: dict[str, Pieces]) -> float:
    """Returns the largest difference of the logits, in their spread over the jets."""
    import torch

    with torch.inference_mode():
        found = {name: torch.cat([piece() for piece in pieces]) for name, pieces in logits.items()}
    spread = found["literal"].std(0).min()
    largest = max(float((values - found["literal"]).abs().max() / spread) for values in found.values())
    assert largest < _TOLERANCE, f"logits differ by {largest}"
    return largest


def _on_cpu(training: bool, real: bool, number: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    networks, jets = _networks(), make_jets(number, real=real)
    together = {"literal": min(number, _LITERAL_BATCH)}
    logits = {
        name: _logits(name, network.eval(), jets, together=together.get(name, number))
        for name, network in networks.items()
    }
    largest = _check(logits)
    steps = {name: _step(network, logits[name], training=training) for name, network in networks.items()}
    for _ in range(5 if "weaver" in steps else 0):  # it cuts its batches after five of them
        networks["weaver"].trimmer._counter.add_(1)  # type: ignore[operator, union-attr]
    steps["ours"]()
    peak = peak_mb()
    times = dict(zip(steps, cpu_seconds(*steps.values(), rounds=_ROUNDS), strict=True))
    row = {
        "name": f"{'training' if training else 'inference'}, {'real jets' if real else '128 of 128'}",
        "jets": number,
        "jets_per_cpu_s": number / statistics.median(times["ours"]),
        "reference_jets_per_cpu_s": number / statistics.median(times["literal"]),
        "largest_difference": largest,
        "peak_mb": peak,
        "peak_mb_with_reference": peak_mb(),
        "reference": "literal form",
        **ratio_row(times["literal"], times["ours"]),
    }
    if "weaver" in times:
        row["times_weaver"] = ratio_row(times["weaver"], times["ours"])["ratio"]
    return row


def _on_accelerator(training: bool, real: bool) -> dict[str, Any]:
    """Returns jets per second in bf16 of our compiled network and of the literal form, and the share of the peak."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(1)
    networks = {name: network.cuda() for name, network in _networks().items() if name != "weaver"}
    jets = make_jets(_BATCH, real=real).map(lambda tensor: tensor.cuda())
    logits = {name: _logits(name, network.eval(), jets) for name, network in networks.items()}
    largest = _check(logits)
    plain = _step(networks["ours"], logits["ours"], training=training)
    with FlopCounterMode(display=False) as counter:
        plain()
    networks["ours"].transformer.compile()  # type: ignore[union-attr]
    seconds: dict[str, list[float]] = {}
    peaks = {}
    for name, network in networks.items():
        step = _step(network, logits[name], training=training)
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            seconds[name] = _wall_seconds(step)
        peaks[name] = torch.cuda.max_memory_allocated() / 2**20
    median = statistics.median(seconds["ours"])
    device = torch.cuda.get_device_name()
    peak = next((value for name, value in _PEAK.items() if name in device), None)
    return {
        "name": f"{'training' if training else 'inference'}, {'real jets' if real else '128 of 128'}, {device}",
        "jets": _BATCH,
        "jets_per_s": _BATCH / median,
        "reference_jets_per_s": _BATCH / statistics.median(seconds["literal"]),
        "share_of_peak": counter.get_total_flops() / median / peak if peak else float("nan"),
        "largest_difference": largest,
        "peak_mb": peaks["ours"],
        "peak_mb_of_reference": peaks["literal"],
        "reference": "literal form",
        **ratio_row(seconds["literal"], seconds["ours"]),
    }


def _wall_seconds(step: Step, *, rounds: int = 5, steps: int = 10) -> list[float]:
    """Returns the time of a step on an accelerator in each round, after three to warm up."""
    import torch

    for _ in range(3):
        step()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / steps)
    return times


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print({name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()})  # noqa: T201


if __name__ == "__main__":
    main()
