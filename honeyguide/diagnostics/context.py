"""What all sections are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import read_spec
from honeyguide.diagnostics.inspected import Inspected, inspect, read_events
from honeyguide.diagnostics.settings import DiagnosticsSettings
from honeyguide.diagnostics.sources import Sources
from honeyguide.errors import StoreError
from honeyguide.nn.model import Model
from honeyguide.plotting.style import colour
from honeyguide.training.weights import BuildModel, load_model


@dataclass(frozen=True)
class Context:
    """Everything that sections are made of, read and computed once.

    Attributes:
        sources: The files.
        settings: What to look at.
        model: The trained model (best weights), in evaluation mode, on ``device``.
        device: Where to compute.
        metrics: Content of ``metrics.json``.
        inspected: A subsample of the events, and the model's view of them.
        colours: Colour of every truth, generator, process and signal point, by its name.
    """

    sources: Sources
    settings: DiagnosticsSettings
    model: Model
    device: torch.device
    metrics: Mapping[str, Any]
    inspected: Inspected
    colours: Mapping[str, str]


def make_context(
    sources: Sources, *, build_model: BuildModel, settings: DiagnosticsSettings, device: torch.device
) -> Context:
    """Returns what all sections are given.

    Raises:
        StoreError: A file is missing or damaged.
    """
    spec = read_spec(sources.inputs)
    events = read_events(sources.inputs, spec, max_events=settings.max_events, seed=settings.seed)
    initial = load_model(sources.training, build_model, which="initial")
    trained = load_model(sources.training, build_model, which="best")
    return Context(
        sources=sources,
        settings=settings,
        model=trained,
        device=device,
        metrics=_read_metrics(sources),
        inspected=Inspected(
            events,
            trained=inspect(trained, events, batch_size=settings.batch_size, device=device),
            initial=inspect(initial, events, batch_size=settings.batch_size, device=device),
        ),
        colours=group_colours(spec),
    )


def group_colours(spec: InputSpec) -> dict[str, str]:
    """Returns a colour for every truth, generator, signal point and process: the same in all figures of a page."""
    first = [*spec.truths, *spec.generators, *spec.signal_points]
    colours = {name: colour(7 + index) for index, name in enumerate(spec.processes)}  # 7 is grey
    return colours | {name: colour(index) for index, name in enumerate(first)}


def _read_metrics(sources: Sources) -> dict[str, Any]:
    path = sources.training / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError("the record of the training can't be read", where=path, got=error) from error
    return metrics
