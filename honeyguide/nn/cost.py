"""What a model costs: its parameters, and the floating-point operations of scoring a row."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.model import Model

LEVELS = 2  # of modules in modules that are told apart


def parameters(model: nn.Module) -> int:
    """Returns the number of parameters, whether they are trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(model: Model, batch: Batch) -> int:
    """Returns the floating-point operations of scoring a batch, all its slots counted, whether they are full or not.

    A multiplication with the addition that follows is one operation, as in the publications of ParticleNet and Particle
    Transformer (540 and 340 million for 128 particles, arXiv:2202.03772). Counted are matrix products, convolutions
    and attention; what is done number by number (activations, normalisations) is not.
    """
    return _counted(model, batch).get_total_flops() // 2


@dataclass(frozen=True)
class Part:
    """A module of a model.

    Attributes:
        name: Its place in the model.
        kind: Its class.
        parameters: Parameters in it.
        flops: Operations per row in it, see :func:`flops`.
    """

    name: str
    kind: str
    parameters: int
    flops: int


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        parameters: Of the whole model.
        flops: Per row with all of its objects, see :func:`flops`.
        inputs: Shape of each of the inputs of a row, by name.
        parts: The modules, down to the second level.
    """

    parameters: int
    flops: int
    inputs: Mapping[str, tuple[int, ...]]
    parts: tuple[Part, ...]

    def line(self) -> str:
        """Returns one line, e.g. ``366,160 parameters, 5.4e8 FLOPs per row (particles: 128 x 7)``."""
        shapes = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in self.inputs.items())
        return f"{self.parameters:,} parameters, {_short(self.flops)} FLOPs per row ({shapes})"

    def table(self) -> str:
        """Returns a line per part, with its share of everything, after :meth:`line`."""
        rows = [("part", "kind", "parameters", "FLOPs per row", "share of FLOPs")]
        for part in self.parts:
            indent = "  " * part.name.count(".")
            share = f"{part.flops / max(self.flops, 1):.1%}"
            rows.append((indent + part.name, part.kind, f"{part.parameters:,}", _short(part.flops), share))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        note = "a FLOP is a multiplication with its addition, of products, convolutions and attention"
        return "\n".join([self.line(), *lines, note])

    def to_json(self) -> str:
        """Returns everything as JSON text."""
        return json.dumps(asdict(self), indent=1)


def cost(model: Model) -> Cost:
    """Returns what a model costs with rows whose slots are all full."""
    # without numbers a tagger can't leave out padding, and takes no time; flows do not work without numbers
    device = "meta" if model.classes else "cpu"
    counter = _counted(copy.deepcopy(model).to(device), full_batch(model.spec, device=device))
    prefix = f"{_Scoring.__name__}.model."
    counts = {name.removeprefix(prefix): sum(each.values()) // 2 for name, each in counter.get_flop_counts().items()}
    parts = tuple(
        Part(name, type(module).__name__, parameters(module), _flops_in(module, name, counts))
        for name, module in model.named_modules()
        if name and name.count(".") < LEVELS and parameters(module)
    )
    return Cost(parameters(model), counter.get_total_flops() // 2, input_shapes(model.spec), parts)


def full_batch(spec: InputSpec, *, num_rows: int = 1, device: torch.device | str = "cpu") -> Batch:
    """Returns a batch of rows with all of their objects, and 1 for every feature."""
    whole = torch.zeros(num_rows, dtype=torch.int64, device=device)
    shape = (num_rows, spec.num_objects)
    return Batch(
        objects=torch.ones(*shape, spec.num_features, device=device),
        mask=torch.ones(*shape, dtype=torch.bool, device=device),
        event=torch.ones(num_rows, spec.num_event_features, device=device),
        weight=torch.ones(num_rows, device=device),
        label=whole,
        generator=whole,
        event_id=whole,
        truth=whole if spec.truths else None,
        targets=torch.zeros(num_rows, len(spec.targets), device=device) if spec.targets else None,
        sets={
            item.name: Objects(
                features=torch.ones(num_rows, item.size, len(item.columns), device=device),
                mask=torch.ones(num_rows, item.size, dtype=torch.bool, device=device),
                vectors=torch.ones(num_rows, item.size, 4, device=device) if item.vectors else None,
            )
            for item in spec.sets
        },
    )


def input_shapes(spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each input of a row, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.num_objects:
        shapes["objects"] = (spec.num_objects, spec.num_features)
    if spec.num_event_features:
        shapes["row" if spec.level == "row" else "event"] = (spec.num_event_features,)
    return shapes | {item.name: (item.size, len(item.columns) + 4 * item.vectors) for item in spec.sets}


class _Scoring(nn.Module):
    """Makes scoring a call, which is what the counter follows."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> None:
        self.model.score(batch)


def _flops_in(module: nn.Module, name: str, counts: Mapping[str, int]) -> int:
    """Returns the operations of a module, or of the modules in it where it is a list that is not called itself."""
    if name in counts:
        return counts[name]
    return sum(_flops_in(child, f"{name}.{key}", counts) for key, child in module.named_children())


def _counted(model: Model, batch: Batch) -> FlopCounterMode:
    was_training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        _Scoring(model.eval())(batch)
    model.train(was_training)
    return counter


def _short(number: int) -> str:
    """Returns two digits of a large number, such as 5.4e8."""
    if number < 1000:
        return str(number)
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
