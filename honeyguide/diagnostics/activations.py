"""Activation maps: what every unit of every layer does on average, for each group of events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from honeyguide.data.streams import BatchStream
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.inspected import Events
from honeyguide.diagnostics.latent import finite_rows
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.nn.edge_convolution import EdgeConvolution
from honeyguide.nn.masked import MaskedLSTM, ObjectLayers
from honeyguide.nn.model import Model
from honeyguide.plotting.activations import Panel, activation_figure
from honeyguide.plotting.style import slug

Floats = NDArray[np.float64]
CONSTANT = 1e-6  # of the largest output of the layer: a unit that varies less is dead
TITLE = "Activation maps"
WHOLE = (ObjectLayers, MaskedLSTM, EdgeConvolution)
"""Modules that are looked at from outside: inside of them a row is an object or an edge of any event."""


@dataclass(frozen=True)
class Layer:
    """The output of one module.

    Attributes:
        name: Its name in the model.
        kind: Its class.
        mean: Mean output of each unit in each group, (num_groups, num_units).
        deviation: Standard deviation of each unit over all events (and positions), (num_units,).
        largest: Largest absolute output of any unit.
    """

    name: str
    kind: str
    mean: Floats
    deviation: Floats
    largest: float

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which units give the same for every event, (num_units,)."""
        return np.asarray(self.deviation <= CONSTANT * max(self.largest, 1e-30))

    @property
    def shift(self) -> Floats:
        """Largest difference between the means of two groups, in standard deviations, (num_units,); 0 if dead."""
        safe = np.where(self.dead, 1.0, self.deviation)
        return np.where(self.dead, 0.0, np.ptp(self.mean, axis=0) / safe)


def section(context: Context) -> Section:
    """Returns the activation maps of the test events' generators and signal points; those with NaN are left out."""
    events = context.inspected.events
    shown = events.in_split("test") & finite_rows(context.inspected.trained)
    groups = {name: chosen for name, rows in events.groups_and_signals().items() if (chosen := rows & shown).any()}
    if not groups:
        return not_made("activations", TITLE, "there are no test events with finite latents.")
    layers = map_activations(
        context.model, events, groups, batch_size=context.settings.batch_size, device=context.device
    )
    by_kind: dict[str, list[Layer]] = {}
    for layer in layers:
        by_kind.setdefault(layer.kind, []).append(layer)
    plots = [_plot(kind, members, list(groups)) for kind, members in by_kind.items()]
    units = sum(len(layer.deviation) for layer in layers)
    text = (
        f"Mean output of {units} units in {len(layers)} layers, in evaluation mode. A unit whose mean differs between "
    )
    text += (
        "truths helps to tell them apart."
        if events.grouping == "truth"
        else "generators sees the generator; one that differs for a signal sees the signal."
    )
    data = {
        layer.name: {
            "kind": layer.kind,
            "mean": {name: _short(means) for name, means in zip(groups, layer.mean, strict=True)},
            "deviation": _short(layer.deviation),
            "dead": np.flatnonzero(layer.dead),
        }
        for layer in layers
    }
    return Section("activations", TITLE, text, data, tuple(plots), (_table(layers),), warnings(layers))


def warnings(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Returns where units are dead."""
    found = {layer.name: int(layer.dead.sum()) for layer in layers if layer.dead.any()}
    if not found:
        return ()
    units = sum(len(layer.deviation) for layer in layers)
    where = ", ".join(f"{count} in {name}" for name, count in found.items())
    return (f"{sum(found.values())} of {units} units give the same for every event: {where}.",)


def map_activations(
    model: Model,
    events: Events,
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    batch_size: int,
    device: torch.device,
) -> list[Layer]:
    """Returns the mean output of every unit of every layer for each group of events, layers in the order of use.

    Layers are the modules without modules inside, whatever the family, and those of :data:`WHOLE`. The units of a layer
    are its channels: the second axis of an image (batch, channel, row, column), the last of anything else; other axes
    are averaged over.

    Args:
        model: In evaluation mode.
        events: The events; those in no group are passed over.
        groups: Name to the rows, (num_events,); none is empty.
        batch_size: Most events in a batch.
        device: Where the model is.
    """
    codes = np.full((len(events), len(groups)), False)
    for number, rows in enumerate(groups.values()):
        codes[:, number] = rows
    sums: dict[str, _Sums] = {}
    stream = BatchStream([events.inputs], batch_size=batch_size, device=device)
    start = 0
    with torch.inference_mode():
        for batch in stream.batches():
            member = torch.from_numpy(codes[start : start + len(batch)]).to(device, torch.float64)
            start += len(batch)
            with _hooks(model, sums, member):
                model.outputs(batch)
    return [total.layer(name) for name, total in sums.items()]


class _Sums:
    """Sums over the events of one layer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._of_groups: Any = 0.0
        self._events: Any = 0.0
        self._sum: Any = 0.0
        self._squares: Any = 0.0
        self._count = 0
        self._largest = 0.0

    def add(self, output: Tensor, member: Tensor) -> None:
        """Takes the output of a batch, (batch, position, unit), and who is in which group, (batch, group)."""
        rows = member.any(1)  # 0 times the NaN of an event that is passed over is NaN
        chosen, member = output[rows].double(), member[rows]
        self._of_groups += (member.T @ chosen.mean(1)).cpu().numpy()
        self._events += member.sum(0).cpu().numpy()
        self._sum += chosen.sum((0, 1)).cpu().numpy()
        self._squares += chosen.square().sum((0, 1)).cpu().numpy()
        self._count += chosen.shape[0] * chosen.shape[1]
        self._largest = max(self._largest, float(chosen.abs().max()) if chosen.numel() else 0.0)

    def layer(self, name: str) -> Layer:
        """Returns means and deviations."""
        mean = self._of_groups / self._events[:, None]
        variance = self._squares / self._count - (self._sum / self._count) ** 2
        return Layer(name, self.kind, mean, np.sqrt(np.clip(variance, 0, None)), self._largest)


@contextlib.contextmanager
def _hooks(model: nn.Module, sums: dict[str, _Sums], member: Tensor) -> Iterator[None]:
    """Listens to every layer while the block runs."""
    handles = []

    def listen(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            units = _units(output, len(member), image="Conv" in type(module).__name__)
            if units is not None:
                sums.setdefault(name, _Sums(type(module).__name__)).add(units, member)

        handles.append(module.register_forward_hook(hook))

    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(inside):
            continue
        if isinstance(module, WHOLE):
            inside = (*inside, f"{name}.")
        if isinstance(module, WHOLE) or (name and not any(True for _ in module.children())):
            listen(name, module)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _units(output: Any, num_events: int, *, image: bool) -> Tensor | None:
    """Returns an output as (batch, position, unit); None where it is no tensor of the batch's numbers."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.dim() < 2 or not output.numel():
        return None
    if output.shape[0] % num_events:
        return None
    if output.dim() == 4 or (image and output.dim() == 3):
        output = output.movedim(1, -1)
    units: Tensor = output.reshape(num_events, -1, output.shape[-1])
    return units


def _short(values: Floats) -> list[float]:
    """Returns the values with four digits: there are many."""
    return [float(f"{value:.4g}") for value in values]


def _plot(kind: str, layers: Sequence[Layer], groups: Sequence[str]) -> Plot:
    caption = (
        "Rows are groups of events, columns the units of a layer; the colour is the mean output, in terms of a scale "
        "that 5 % of the layer's exceed. A column of one colour is a unit that does the same for all groups; crosses "
        "below mark dead units."
    )
    panels = [Panel(layer.name, layer.mean, layer.dead) for layer in layers]
    figure = activation_figure(panels, groups)
    return Plot(slug("activations", kind), f"Layers of type {kind}", caption, figure)


def _table(layers: Sequence[Layer]) -> Table:
    rows = tuple(
        (layer.name, layer.kind, len(layer.deviation), int(layer.dead.sum()), float(f"{layer.shift.max():.3g}"))
        for layer in layers
    )
    columns = ("layer", "type", "units", "dead units", "largest shift between groups [standard deviations]")
    return Table("Layers", columns, rows)
