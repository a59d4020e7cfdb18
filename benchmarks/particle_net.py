"""ParticleNet beside its literal reference: training step and inference, and what the stream of batches adds to a step.

Run ``python -m benchmarks.particle_net [scale]`` from the root of the repository. Jets have the numbers of particles of
top-tagging jets (arXiv:1902.09914), or fill all of 128 slots. Times are CPU times; where there is a GPU, further rows
have ``jets_per_s`` by the clock.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic_inputs import cpu_seconds, measure_alone, peak_mb, ratio_row
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.data.model_inputs import ModelInputs, ModelInputsWriter, write_spec

_SLOTS = 128
_FEATURES = ("deta", "dphi", "pt_log", "e_log", "logptrel", "logerel", "deltaR")
# 0, 5, 25, 50, 75, 95 and 100 % of 1000 top-tagging jets have no more particles than this
_QUANTILES = ((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), (8, 20, 38, 48, 60, 78, 114))
_BATCH = 512
_LITERAL_BATCH = 32  # a step of the reference takes 36 MB a jet: more jets at a time are not faster
_ROUNDS = 3
_STREAM_BATCHES = 4
_NUM_NEIGHBOURS = 16


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns rows of the table: networks beside the reference, and steps with a stream beside those without.

    Args:
        scale: 1 is a batch of 512 jets.
    """
    import torch

    num_jets = max(_LITERAL_BATCH, round(_BATCH * scale))
    cases = [(multiplicity, what) for multiplicity in ("real", "full") for what in ("training", "inference")]
    table = [measure_alone(_network, *case, num_jets) for case in cases]
    table += [measure_alone(_stream, how, num_jets) for how in ("resident", "streamed", "length buckets")]
    if torch.cuda.is_available():
        table += [measure_alone(_on_gpu, *case, num_jets, how) for case in cases for how in ("literal", "fp32", "bf16")]
    return table


def make_jets(num_jets: int, multiplicity: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns random features (jet, slot, feature) and mask of jets with ``real`` or ``full`` numbers of particles."""
    rng = np.random.default_rng(1)
    count = (
        np.interp(rng.random(num_jets), *_QUANTILES).round() if multiplicity == "real" else np.full(num_jets, _SLOTS)
    )
    mask = np.arange(_SLOTS) < count[:, None]
    features = rng.standard_normal((num_jets, _SLOTS, len(_FEATURES)), dtype=np.float32)
    return features * mask[..., None], mask


def _spec() -> InputSpec:
    columns = tuple(Column(name=name, feature=name, kind="continuous") for name in _FEATURES)
    particles = ObjectSet(name="particles", size=_SLOTS, columns=columns, vectors=True)
    return InputSpec(
        level="row",
        shape=(0,),
        columns=(),
        processes=("jets",),
        generators=("none",),
        sets=(particles,),
        truths=("qcd", "top"),
    )


def _arrays(num_jets: int, multiplicity: str) -> dict[str, NDArray[Any]]:
    features, mask = make_jets(num_jets, multiplicity)
    codes = np.arange(num_jets)
    plain = dict.fromkeys(("label", "process", "generator", "group"), codes * 0)
    return {
        "objects": np.zeros((num_jets, 0, 0)),
        "mask": np.zeros((num_jets, 0), np.bool_),
        "event": np.zeros((num_jets, 0)),
        "event_id": codes,
        "weight": np.ones(num_jets),
        "signal_point": codes * 0 - 1,
        "truth": codes % 2,
        "pt": np.ones(num_jets),
        "eta": np.zeros(num_jets),
        **plain,
        "particles/features": features,
        "particles/mask": mask,
        "particles/vectors": features[..., :4],
    }


def _build(preset: str = "ParticleNet") -> Any:
    import torch

    import models

    torch.manual_seed(0)
    return models.build(models.parse({"family": "tagger", "preset": preset, "embedding": None}), _spec())


def _batch(num_jets: int, multiplicity: str) -> Any:
    import torch

    arrays = _arrays(num_jets, multiplicity)
    names = ("objects", "mask", "event", "weight", "label", "generator", "event_id", "truth")
    tensors = {name: torch.from_numpy(arrays[name]) for name in arrays if name in names or "/" in name}
    return Batch.from_tensors(
        {name: item.float() if item.is_floating_point() else item for name, item in tensors.items()}
    )


def _literal(num_jets: int, multiplicity: str) -> tuple[Any, tuple[Any, Any, Any]]:
    """Returns the reference with the weights of ours, and what it takes."""
    from benchmarks.literal.particle_net import LiteralParticleNet
    from honeyguide.nn.weaver_particle_net import to_weaver

    objects = _batch(num_jets, multiplicity).sets["particles"]
    features = objects.features.transpose(1, 2).contiguous()
    literal = LiteralParticleNet(len(_FEATURES), 2)
    literal.load_weaver(to_weaver(_build().state_dict()))
    return literal, (features[:, :2].contiguous(), features, objects.mask.unsqueeze(1))


def _steps(network: Any, loss: Callable[[], Any], what: str) -> Callable[[], Any]:
    """Returns what makes a training step, but for the optimizer's, or an inference."""
    import torch

    if what == "inference":
        return torch.inference_mode()(loss)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss().backward()

    return step


def _measured(num_jets: int, multiplicity: str, what: str) -> Callable[[], Any]:
    """Returns a step of ours with ``num_jets``."""
    model, batch = _build().train(what == "training"), _batch(num_jets, multiplicity)
    return _steps(model, lambda: model.loss(batch)["cross_entropy"], what)


def _reference(num_jets: int, multiplicity: str, what: str) -> Callable[[], Any]:
    """Returns a step of the reference with ``num_jets``."""
    import torch
    from torch.nn import functional

    literal, inputs = _literal(num_jets, multiplicity)
    literal.train(what == "training")
    truth = torch.arange(num_jets) % 2
    return _steps(literal, lambda: functional.cross_entropy(literal(*inputs), truth), what)


def _assert_equal(multiplicity: str) -> None:
    """Checks that ours and the reference have the same outputs, of jets with more particles than neighbours of one."""
    import torch

    literal, inputs = _literal(_LITERAL_BATCH, multiplicity)
    model, batch = _build().eval(), _batch(_LITERAL_BATCH, multiplicity)
    chosen = batch.sets["particles"].mask.sum(1) > _NUM_NEIGHBOURS
    with torch.inference_mode():
        found, expected = model.to_logits(model.latent(batch)), literal.eval()(*inputs)
    torch.testing.assert_close(found[chosen], expected[chosen], rtol=1e-3, atol=1e-4)


def _network(multiplicity: str, what: str, num_jets: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    _assert_equal(multiplicity)
    ours = _measured(num_jets, multiplicity, what)
    before = peak_mb()
    ours()
    peak = peak_mb()
    reference = _reference(_LITERAL_BATCH, multiplicity, what)
    reference()
    taken, used = cpu_seconds(reference, ours, rounds=_ROUNDS)
    return {
        "name": f"ParticleNet, {what}, {multiplicity} multiplicities",
        "jets": num_jets,
        "jets_per_cpu_s": num_jets / statistics.median(used),
        "peak_mb": peak,
        "base_mb": before,
        "reference": f"literal layers, {_LITERAL_BATCH} jets at a time",
        **ratio_row(taken, used, share=num_jets / _LITERAL_BATCH),
    }


def _stream(how: str, num_jets: int) -> dict[str, Any]:
    """Returns steps of ParticleNetLite with a stream beside those with the same batches made beforehand."""
    import torch

    from honeyguide.data.length_buckets import BucketStream
    from honeyguide.data.streams import BatchStream

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        path, spec = Path(name) / "jets" / "train.h5", _spec()
        write_spec(Path(name), spec)
        with ModelInputsWriter(path, num_events=_STREAM_BATCHES * num_jets, spec=spec) as writer:
            writer.append(_arrays(_STREAM_BATCHES * num_jets, "real"))
        make = BucketStream if how == "length buckets" else BatchStream
        budget = 2**40 if how == "resident" else 0
        stream = make([ModelInputs.open(path)], batch_size=num_jets, shuffle_seed=1, resident_bytes=budget)
        model = _build("ParticleNetLite")
        kept = list(stream.batches())

        def steps(batches: Iterable[Batch]) -> None:
            for batch in batches:
                model.zero_grad(set_to_none=True)
                model.loss(batch)["cross_entropy"].backward()

        def alone() -> None:
            for _ in stream.batches():
                pass

        runs = functools.partial(steps, kept), alone
        for run in runs:
            run()
        fixed, added = cpu_seconds(*runs, rounds=_ROUNDS + 2)
    whole = [one + other for one, other in zip(fixed, added, strict=True)]
    return {
        "name": f"steps of ParticleNetLite with a stream, {how}",
        "jets": stream.num_events,
        "jets_per_cpu_s": stream.num_events / statistics.median(whole),
        "peak_mb": peak_mb(),
        "reference": "the same batches, made beforehand",
        **ratio_row(fixed, whole),
    }


def _on_gpu(multiplicity: str, what: str, num_jets: int, how: str) -> dict[str, Any]:
    """Returns jets per second of the reference in fp32, or of ours, compiled, in fp32 or bf16."""
    import torch
    from torch.nn import functional

    device = torch.device("cuda")
    torch.set_float32_matmul_precision("high")
    literal, inputs = _literal(num_jets, multiplicity)
    batch = _batch(num_jets, multiplicity).to(device)
    assert batch.truth is not None, "jets have a truth"
    truth, inputs = batch.truth, tuple(part.to(device) for part in inputs)
    network: Any = literal if how == "literal" else _build()
    network.to(device).train(what == "training")
    compiled: Any = torch.compile(network.loss) if how != "literal" else None

    def loss() -> Any:
        if compiled is None:
            return functional.cross_entropy(network(*inputs), truth)
        with torch.autocast("cuda", torch.bfloat16, enabled=how == "bf16"):
            return compiled(batch)["cross_entropy"]

    step = _steps(network, loss, what)

    def steps() -> None:
        for _ in range(10):
            step()
        torch.cuda.synchronize()

    steps()
    torch.cuda.reset_peak_memory_stats()
    (used,) = _seconds(steps, rounds=_ROUNDS)
    return {
        "name": f"ParticleNet on a GPU, {what}, {multiplicity} multiplicities, {how}",
        "jets": num_jets,
        "jets_per_s": 10 * num_jets / statistics.median(used),
        "peak_mb": torch.cuda.max_memory_allocated() / 2**20,
        "reference": torch.cuda.get_device_name(),
        "ratio": 1.0,
        "ratio_low": 1.0,
        "ratio_high": 1.0,
    }


def _seconds(*functions: Callable[[], object], rounds: int) -> list[list[float]]:
    """Returns the times of each function by the clock, one for each round."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
    return times


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        rate = row.get("jets_per_cpu_s", row.get("jets_per_s"))
        ratio = f"{row['ratio']:.3f} ({row['ratio_low']:.3f} - {row['ratio_high']:.3f}) of {row['reference']}"
        print(f"{row['name']:55s} {row['jets']:6d} jets {rate:9,.1f} /s {row['peak_mb']:6.0f} MB  {ratio}")  # noqa: T201


if __name__ == "__main__":
    main()
