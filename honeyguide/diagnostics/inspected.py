"""A subsample of the events, and what the model does with them before and after the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.splits import SPLITS
from honeyguide.data.streams import BatchStream, drop_pages
from honeyguide.errors import DataError
from honeyguide.nn.model import Model

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Events:
    """Events of several samples and splits, in one table.

    Attributes:
        spec: Names and shapes of the inputs.
        inputs: The events; arrays in memory.
        samples: Names of the samples.
        sample: Code of each event's sample, (num_events,).
        split: Code of each event's split, its place in ``SPLITS``, (num_events,).
    """

    spec: InputSpec
    inputs: ModelInputs
    samples: tuple[str, ...]
    sample: NDArray[np.int64]
    split: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sample)

    def in_split(self, split: str) -> Bools:
        """Returns which events are in a split."""
        return np.asarray(self.split == SPLITS.index(split))

    def of_sample(self, sample: str) -> Bools:
        """Returns which events are of a sample."""
        return np.asarray(self.sample == self.samples.index(sample))

    @property
    def grouping(self) -> str:
        """By what events are told apart: ``truth``, where they have one, else the ``generator`` of the background."""
        return "generator" if self.inputs.truth is None else "truth"

    def groups(self) -> dict[str, Bools]:
        """Returns the events of each truth, where they have one, else what each generator has made."""
        if self.inputs.truth is None:
            return self.generators()
        return self._named(self.spec.truths, self.inputs.truth, np.ones(len(self), dtype=np.bool_))

    def groups_and_signals(self) -> dict[str, Bools]:
        """Returns the groups, and the signal events of each signal point where groups are background alone."""
        return self.groups() | (self.signals() if self.inputs.truth is None else {})

    def generators(self) -> dict[str, Bools]:
        """Returns which background events each generator has made."""
        return self._named(self.spec.generators, self.inputs.generator, self.inputs.label == 0)

    def processes(self) -> dict[str, Bools]:
        """Returns which background events are of each process."""
        return self._named(self.spec.processes, self.inputs.process, self.inputs.label == 0)

    def signals(self) -> dict[str, Bools]:
        """Returns which signal events are of each signal point; of each process, where they have no point."""
        signal = self.inputs.label == 1
        without = signal & (self.inputs.signal_point < 0)
        points = self._named(self.spec.signal_points, self.inputs.signal_point, signal & ~without)
        return points | self._named(self.spec.processes, self.inputs.process, without)

    def _named(self, names: tuple[str, ...], codes: NDArray[np.int16], among: Bools) -> dict[str, Bools]:
        groups = {name: among & (codes == code) for code, name in enumerate(names)}
        return {name: rows for name, rows in groups.items() if rows.any()}


@dataclass(frozen=True)
class Inspected:
    """The events, with everything that :meth:`honeyguide.nn.model.Model.inspect` says about each.

    Attributes:
        events: The events.
        trained: Arrays (num_events, ...) by key, of the best weights; keys depend on the family, ``latent`` is there.
        initial: The same of the weights before the training.
    """

    events: Events
    trained: Mapping[str, NDArray[np.float32]]
    initial: Mapping[str, NDArray[np.float32]]


def read_events(folder: Path, spec: InputSpec, *, max_events: int, seed: int) -> Events:
    """Returns a subsample of the model inputs in ``folder``.

    Args:
        folder: Folder of model inputs.
        spec: Their specification.
        max_events: Most events of a sample in a split; where there are more, they are drawn without replacement.
        seed: Seed of the draw; that of one file does not depend on the other files.

    Raises:
        DataError: There are no events.
    """
    parts: list[ModelInputs] = []
    places: list[tuple[str, int, int]] = []
    for code, split in enumerate(SPLITS):
        for sample, path in list_inputs(folder, split).items():
            part = _subsample(ModelInputs.open(path), max_events, np.random.default_rng([seed, code]))
            parts.append(part)
            places.append((sample, code, len(part)))
    if not parts:
        raise DataError("there are no model inputs to look at", where=folder)
    samples = tuple(sorted({sample for sample, _, _ in places}))
    lengths = [length for _, _, length in places]
    return Events(
        spec,
        ModelInputs.from_arrays(
            {name: np.concatenate([part.arrays()[name] for part in parts]) for name in parts[0].arrays()}
        ),
        samples,
        np.repeat([samples.index(sample) for sample, _, _ in places], lengths),
        np.repeat([code for _, code, _ in places], lengths),
    )


def inspect(model: Model, events: Events, *, batch_size: int, device: torch.device) -> dict[str, NDArray[np.float32]]:
    """Returns what is seen inside of a model for every event, arrays (num_events, ...) by key; the model is moved."""
    model = model.to(device).eval()
    stream = BatchStream([events.inputs], batch_size=batch_size, device=device)
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with torch.inference_mode():
        for batch in stream.batches():
            for name, value in model.inspect(batch).items():
                if "attention/" in name:  # (object, object) of every head: too much for the memory, see AttentionTask
                    continue
                parts.setdefault(name, []).append(value.float().cpu().numpy())
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _subsample(source: ModelInputs, max_events: int, rng: np.random.Generator) -> ModelInputs:
    rows: NDArray[Any] = np.arange(len(source))
    if len(source) > max_events:
        rows = np.sort(rng.choice(len(source), max_events, replace=False))
    part = source.map(lambda array: np.array(array[rows]))
    drop_pages(source)
    return part
