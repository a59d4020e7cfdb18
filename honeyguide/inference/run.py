"""Inference: scores and latents of a file of model inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.length_buckets import parts_by_length
from honeyguide.data.model_inputs import ModelInputs, read_spec
from honeyguide.data.streams import BatchStream, drop_pages
from honeyguide.errors import ModelError
from honeyguide.evaluation.latent import LatentGaussian
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import OBSERVERS, TARGETS, ScoresWriter
from honeyguide.nn.model import Model
from honeyguide.preprocess.chain import Chain, Scalers
from honeyguide.training.adversarial import Attack, drawn_by_event
from honeyguide.training.device import resolve_device, torch_state
from honeyguide.training.latents import read_latent_gaussian
from honeyguide.training.loss import WeightedLoss
from honeyguide.training.weights import BuildModel, load_model

BLOCK_ROWS = 16384  # events that are written together
BATCHES_TOGETHER = 8  # among so many, events change places so that those of a batch have similar numbers of objects

Array = NDArray[Any]


@dataclass(frozen=True)
class InferenceResult:
    """What came of an inference.

    Attributes:
        num_events: Scored events.
        events_per_second: Rate of the whole, reading and writing counted in.
    """

    num_events: int
    events_per_second: float


def infer(
    training: Path,
    inputs: Path,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: InferenceSettings,
    progress: Callable[[int, int], None] | None = None,
) -> InferenceResult:
    """Returns the summary of an inference, after writing ``scores.h5`` and ``scores.root``.

    The scores are the model's. Those of an anomaly detector are joined by ``mahalanobis``: how far an event's latent
    vector is from those of the background that the model was trained with, in units of their spread. What a regression
    predicts has the physical units of its targets, which are written beside it.

    Args:
        training: Folder that :func:`honeyguide.training.run.train` has written.
        inputs: A file of model inputs; ``spec.json`` is two folders above it. All its events are scored, in order.
        folder: Existing folder to write to.
        build_model: Makes an untrained model of the trained family and config from an input specification.
        settings: How to apply the model.
        progress: Called with the number of events that are done and the number of all.

    Raises:
        ModelError: The inputs are not those that the model was trained with, or a score is NaN.
        StoreError: A file is missing or damaged.
    """
    started = time.perf_counter()
    device = resolve_device(settings.device)
    with torch_state(device=device, num_threads=settings.num_threads):
        model = load_model(training, build_model, which=settings.weights).to(device)
        spec = read_spec(inputs.parent.parent)
        _check_spec(spec, model.spec, inputs)
        source = ModelInputs.open(inputs)
        together = BATCHES_TOGETHER if model.any_length else 1
        stream = BatchStream([source], batch_size=together * settings.batch_size, device=device)
        gaussian = read_latent_gaussian(training, which=settings.weights) if model.is_detector else None
        chains = {chain.feature: chain for chain in Scalers.read(inputs.parent.parent).targets} if spec.targets else {}
        blocks = _blocks(_outputs(model, stream, gaussian, chains, settings=settings))
        first_scores, first_latent = next(blocks)
        with ScoresWriter(
            folder,
            num_events=len(source),
            score_names=list(first_scores),
            latent_dim=first_latent.shape[1],
            spec=spec,
            classes=model.classes,
            root=settings.root,
        ) as writer:
            done = 0
            for scores, latent in chain([(first_scores, first_latent)], blocks):
                _write(writer, source, scores, latent, start=done, chains=chains, observers=spec.observers)
                done += len(latent)
                if progress is not None:
                    progress(done, len(source))
    return InferenceResult(len(source), len(source) / (time.perf_counter() - started))


def _outputs(
    model: Model,
    stream: BatchStream,
    gaussian: LatentGaussian | None,
    chains: Mapping[str, Chain],
    *,
    settings: InferenceSettings,
) -> Iterator[tuple[dict[str, Array], Array]]:
    predict = _Predictor(model, settings)
    for batch in stream.batches():
        names, values = predict(batch)
        packed = values.cpu().numpy()
        columns = {name: packed[:, column] for column, name in enumerate(names)}
        columns |= {
            name: chains[of].inverse(columns[name].astype(np.float64)) for name, of in model.predictions.items()
        }
        latents = packed[:, len(names) :]
        if gaussian is not None:
            columns["mahalanobis"] = gaussian.mahalanobis(latents)
        yield columns, latents


class _Predictor:
    """Makes scores and latents of a batch, side by side: one transfer instead of one per score."""

    def __init__(self, model: Model, settings: InferenceSettings) -> None:
        self._model, self._settings = model, settings
        self._attack = None if settings.attack is None else Attack(model, settings.attack, where="inference.attack")
        self._loss = WeightedLoss(model, weights=model.config.terms)

    def __call__(self, batch: Batch) -> tuple[list[str], Tensor]:
        """Returns the names of the scores, and scores and latents in the order of the events."""
        if not self._model.any_length:
            return self._part(batch)
        places, parts = [], []
        for rows, part in parts_by_length(batch, self._settings.batch_size):
            names, values = self._part(part)
            places.append(rows)
            parts.append(values)
        values = torch.cat(parts)
        return names, torch.empty_like(values).index_copy_(0, torch.cat(places), values)

    def _part(self, batch: Batch) -> tuple[list[str], Tensor]:
        if self._attack is not None:
            batch = self._attack(batch, self._loss.plain, draw=drawn_by_event(batch))
        with torch.inference_mode():
            scores, latent = self._model.outputs(batch, draws=self._settings.draws)
            return list(scores), torch.cat([torch.stack(list(scores.values()), dim=1), latent], dim=1).float()


def _blocks(parts: Iterator[tuple[dict[str, Array], Array]]) -> Iterator[tuple[dict[str, Array], Array]]:
    """Yields the same events in blocks of at least ``BLOCK_ROWS``, the last one excepted."""
    waiting: list[tuple[dict[str, Array], Array]] = []
    for part in parts:
        waiting.append(part)
        if sum(len(latent) for _, latent in waiting) >= BLOCK_ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[dict[str, Array], Array]]) -> tuple[dict[str, Array], Array]:
    scores = {name: np.concatenate([scores[name] for scores, _ in parts]) for name in parts[0][0]}
    return scores, np.concatenate([latent for _, latent in parts])


def _write(
    writer: ScoresWriter,
    source: ModelInputs,
    scores: dict[str, Array],
    latent: Array,
    *,
    start: int,
    chains: Mapping[str, Chain],
    observers: Sequence[str],
) -> None:
    rows = slice(start, start + len(latent))
    for name, values in scores.items():
        bad = np.isnan(values)
        if bad.any():
            raise ModelError(
                f"the score {name!r} is NaN",
                where=f"{int(bad.sum())} events of a block of {len(values)}",
                got=f"first event id {source.event_id[rows][bad][0]}",
                hint="are all inputs finite? did the training diverge?",
            )
    arrays = {name: values[rows] for name, values in source.arrays().items()}
    for number, (name, scalers) in enumerate(chains.items()):
        arrays[TARGETS + name] = scalers.inverse(arrays["targets"][:, number].astype(np.float64))
    for number, name in enumerate(observers):
        arrays[OBSERVERS + name] = arrays["observers"][:, number]
    writer.append({name: arrays[name] for name in writer.columns}, scores, latent)
    drop_pages(source)


def _check_spec(found: InputSpec, trained: InputSpec, where: Path) -> None:
    got, allowed = _parts(found), _parts(trained)
    for part, value in allowed.items():
        if got[part] != value:
            raise ModelError(
                f"these inputs are not those that the model was trained with: {part} differs",
                where=where,
                got=_short(got[part]),
                allowed=_short(value),
            )


def _parts(spec: InputSpec) -> dict[str, Any]:
    """Returns what a model depends on, by name; sets come before their columns, so that both have the same."""
    parts: dict[str, Any] = {name: getattr(spec, name) for name in ("level", "shape", "columns", "event_columns")}
    parts["sets"] = ", ".join(f"{item.name}[{item.size}]" for item in spec.sets)
    parts |= {f"columns of {item.name}": item.columns for item in spec.sets}
    parts["sets with four-momenta"] = ", ".join(item.name for item in spec.sets if item.vectors)
    parts["targets"] = spec.targets
    return parts | {"truths": ", ".join(spec.truths)}


def _short(value: Any) -> str:
    if isinstance(value, tuple) and value and hasattr(value[0], "name"):
        return ", ".join(column.name for column in value)
    return str(value)
