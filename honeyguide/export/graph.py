"""A tagger as a function of plain tensors, in operations that an ONNX file can hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import InputSpec, ObjectSet
from honeyguide.nn.masked import MaskedLSTM
from honeyguide.nn.model import Model

ROW = "row_features"
PROBABILITIES = "probabilities"
_PIECE = 8  # columns whose differences are in memory together


def input_names(spec: InputSpec) -> list[str]:
    """Returns the names of the inputs of an exported model in their order: those of the row, then set by set."""
    names = [ROW] if spec.num_event_features else []
    return names + [f"{item.name}_{part}" for item in spec.sets for part in _parts(item)]


def input_tensors(batch: Batch, spec: InputSpec) -> dict[str, Tensor]:
    """Returns the inputs of an exported model by their names."""
    tensors = {ROW: batch.event} if spec.num_event_features else {}
    for item in spec.sets:
        parts = batch.sets[item.name].tensors()
        tensors |= {f"{item.name}_{part}": parts[part] for part in _parts(item)}
    return tensors


def make_batch(tensors: Mapping[str, Tensor], spec: InputSpec) -> Batch:
    """Returns a batch of which :func:`input_tensors` made these; what is known of rows beside their features is 0."""
    like = next(iter(tensors.values()))
    size, device = like.shape[0], like.device
    whole = torch.zeros(size, dtype=torch.int64, device=device)
    return Batch(
        objects=torch.zeros(size, 0, 0, device=device),
        mask=torch.zeros(size, 0, dtype=torch.bool, device=device),
        event=tensors[ROW] if spec.num_event_features else torch.zeros(size, 0, device=device),
        weight=torch.ones(size, device=device),
        label=whole,
        generator=whole,
        event_id=whole,
        sets={
            item.name: Objects(**{part: tensors[f"{item.name}_{part}"] for part in _parts(item)}) for item in spec.sets
        },
    )


class ExportedTagger(nn.Module):
    """A copy of a trained tagger whose inputs are those of :func:`input_names`, in that order.

    Sets may have fewer slots than the specification says; a network that needs them all is given empty ones.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.spec = model.spec
        self.any_length = model.any_length
        neighbours: list[Any] = [getattr(module, "num_neighbours", 0) for module in model.modules()]
        self.fewest = 1 + max(neighbours, default=0)
        for module in self.model.modules():
            if isinstance(module, MaskedLSTM):
                module.add_module("lstm", OnnxLSTM(module.lstm))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the probabilities (batch, class) and then every other output (batch,), see :meth:`output_names`."""
        tensors = dict(zip(input_names(self.spec), inputs, strict=True))
        for item in self.spec.sets:
            missing = self._slots(item, tensors[f"{item.name}_mask"].shape[1])
            for part in _parts(item):
                tensors[f"{item.name}_{part}"] = _extended(tensors[f"{item.name}_{part}"], missing)
        return tuple(outputs_of(self.model, make_batch(tensors, self.spec)).values())

    def _slots(self, item: ObjectSet, found: int) -> Any:
        """Returns how many empty slots are to be added."""
        most: Any = torch.sym_max(found, self.fewest if self.any_length else item.size)  # type: ignore[no-untyped-call]
        return most - found

    def num_slots(self, item: ObjectSet) -> tuple[int, int | None]:
        """Returns the least and the largest number of slots that a set may have; None where there is no largest."""
        return (item.size, item.size) if item.size == 1 else (1, None if self.any_length else item.size)


def outputs_of(model: Model, batch: Batch) -> dict[str, Tensor]:
    """Returns the outputs of an exported model by their names: the probabilities, and what a regression predicts."""
    scores = model.score(batch)
    probabilities = [scores.pop(f"prob_{name}") for name in model.classes]
    return ({PROBABILITIES: torch.stack(probabilities, dim=1)} if probabilities else {}) | scores


@torch.library.custom_op("honeyguide::recurrent", mutates_args=())
def recurrent(values: Tensor, into: Tensor, again: Tensor, bias: Tensor) -> Tensor:
    """Returns the states of a recurrent layer after each step, (step, batch, width).

    Args:
        values: Inputs, (step, batch, feature).
        into: Weights of the inputs as ONNX has them: (1, 4 width, feature), gates input, output, forget, cell.
        again: Weights of the states, (1, 4 width, width).
        bias: Of the inputs and of the states, (1, 8 width).
    """
    zero = values.new_zeros(1, values.shape[1], again.shape[2])
    weights = [_gates(part, (0, 2, 3, 1)) for part in (into[0], again[0], *bias[0].chunk(2))]
    states: Tensor = torch.lstm(values, (zero, zero), weights, True, 1, 0.0, False, False, False)[0]
    return states


@recurrent.register_fake
def _(values: Tensor, into: Tensor, again: Tensor, bias: Tensor) -> Tensor:  # noqa: ARG001
    return values.new_empty(values.shape[0], values.shape[1], again.shape[2])


class OnnxLSTM(nn.Module):
    """Stands for a recurrent layer in an export: torch writes one step after the other, and so a fixed length."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        order = (0, 3, 1, 2)
        weights = [_gates(lstm.get_parameter(f"weight_{part}_l0").detach(), order) for part in ("ih", "hh")]
        biases = [_gates(lstm.get_parameter(f"bias_{part}_l0").detach(), order) for part in ("ih", "hh")]
        for name, tensor in zip(("into", "again", "bias"), (*weights, torch.cat(biases)), strict=True):
            self.register_buffer(name, tensor.unsqueeze(0))

    def forward(self, values: Tensor) -> tuple[Tensor, None]:
        """Returns the state after each step, (batch, step, width)."""
        weights = (self.get_buffer(name) for name in ("into", "again", "bias"))
        return recurrent(values.transpose(0, 1), *weights).transpose(0, 1), None


def translations() -> dict[Any, Callable[..., Any]]:
    """Returns what torch's exporter does not know: operations of torch to functions that write them in ONNX."""
    from onnxscript import opset18

    op: Any = opset18

    def distances(x1: Any, x2: Any, p: float = 2.0, compute_mode: int | None = None) -> Any:  # noqa: ARG001
        # from differences, as torch makes them: products lose the distance of what is close; in pieces, for the memory
        total, width = None, int(x1.shape[-1])
        for start in range(0, width, _PIECE):
            ends = ([start], [min(start + _PIECE, width)], [-1])
            this, other = (op.Slice(x, *(op.Constant(value_ints=end) for end in ends)) for x in (x1, x2))
            axes = [op.Constant(value_ints=[axis]) for axis in (-2, -3, -1)]
            difference = op.Sub(op.Unsqueeze(this, axes[0]), op.Unsqueeze(other, axes[1]))
            square = op.ReduceSum(op.Mul(difference, difference), axes[2], keepdims=0)
            total = square if total is None else op.Add(total, square)
        return op.Sqrt(total)

    def states(values: Any, into: Any, again: Any, bias: Any) -> Any:
        width = int(again.shape[2])
        return op.Squeeze(op.LSTM(values, into, again, bias, hidden_size=width)[0], op.Constant(value_ints=[1]))

    return {torch.ops.aten._cdist_forward.default: distances, torch.ops.honeyguide.recurrent.default: states}


def _parts(item: ObjectSet) -> list[str]:
    return ["features", *(["vectors"] if item.vectors else []), "mask"]


def _extended(values: Tensor, missing: Any) -> Tensor:
    return functional.pad(values, (0, 0, 0, missing) if values.ndim == 3 else (0, missing))


def _gates(values: Tensor, order: tuple[int, ...]) -> Tensor:
    """Returns the four gates of a recurrent layer in another order; torch's is input, forget, cell, output."""
    gates = values.chunk(4)
    return torch.cat([gates[place] for place in order])
