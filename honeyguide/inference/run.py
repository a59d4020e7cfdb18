"""Inference: scores and latents of a file of model inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputs, read_spec
from honeyguide.data.streams import BatchStream, drop_pages
from honeyguide.errors import ModelError
from honeyguide.evaluation.latent import LatentGaussian
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import OBSERVERS, ScoresWriter
from honeyguide.nn.model import Model
from honeyguide.training.device import resolve_device, torch_state
from honeyguide.training.latents import read_latent_gaussian
from honeyguide.training.weights import BuildModel, load_model

BLOCK_ROWS = 16384  # events that are written together

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
    vector is from those of the background that the model was trained with, in units of their spread.

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
        stream = BatchStream([source], batch_size=settings.batch_size, device=device)
        gaussian = None if model.classes else read_latent_gaussian(training, which=settings.weights)
        blocks = _blocks(_outputs(model, stream, gaussian, draws=settings.draws))
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
                _write(writer, source, scores, latent, start=done, spec=spec)
                done += len(latent)
                if progress is not None:
                    progress(done, len(source))
    return InferenceResult(len(source), len(source) / (time.perf_counter() - started))


def _outputs(
    model: Model, stream: BatchStream, gaussian: LatentGaussian | None, *, draws: int
) -> Iterator[tuple[dict[str, Array], Array]]:
    with torch.inference_mode():
        for batch in stream.batches():
            scores, latent = model.outputs(batch, draws=draws)
            # one transfer per batch instead of one per score
            packed = torch.cat([torch.stack(list(scores.values()), dim=1), latent], dim=1).float().cpu().numpy()
            columns = {name: packed[:, column] for column, name in enumerate(scores)}
            latents = packed[:, len(scores) :]
            if gaussian is not None:
                columns["mahalanobis"] = gaussian.mahalanobis(latents)
            yield columns, latents


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
    writer: ScoresWriter, source: ModelInputs, scores: dict[str, Array], latent: Array, *, start: int, spec: InputSpec
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
    arrays = {name: array[rows] for name, array in source.arrays().items()}
    for number, name in enumerate(spec.observers):
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
