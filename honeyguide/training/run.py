"""Training: one loop for all model families."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.data.event_weights import make_event_weights
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import DataError, ModelError
from honeyguide.nn.model import Model, weighted_sum
from honeyguide.training.device import resident_bytes, resolve_device, torch_state
from honeyguide.training.early_stopping import BestWeights
from honeyguide.training.metrics import MetricsLog
from honeyguide.training.optimizers import make_optimizer, make_schedule
from honeyguide.training.progress import SilentProgress, TrainingProgress
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.term_means import TermMeans
from honeyguide.training.weights import BuildModel, describe, save_weights, write_description


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes:
        best_epoch: Epoch of the best weights, from 0.
        best_loss: Weighted sum of the terms in that epoch on the validation split (on the training split, without one).
        num_epochs: Epochs that were trained.
        stopped_early: Whether the patience was used up.
        events_per_second: Training events per second, validation not counted.
    """

    best_epoch: int
    best_loss: float
    num_epochs: int
    stopped_early: bool
    events_per_second: float


def train(
    inputs: Path,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: TrainingSettings,
    seed: int,
    provenance: Mapping[str, Any],
    progress: TrainingProgress | None = None,
) -> TrainingResult:
    """Returns the summary of a training, after writing its files.

    On a CPU, with the same number of threads, the same seed gives the same weights to the last bit.

    Args:
        inputs: Folder of model inputs; the events of all samples in its splits ``train`` and ``validation`` are used.
        folder: Existing folder for ``best.safetensors``, ``last.safetensors``, ``model.json``, ``metrics.json``,
            ``provenance.json`` and ``tensorboard/``.
        build_model: Makes the model from the input specification. Its terms and their weights are in its config.
        settings: How to train.
        seed: Seed of the weights, the order of events and the random draws.
        provenance: Plain values about what led here, written to ``provenance.json``.
        progress: Is told of batches and epochs.

    Raises:
        DataError: There are no training events.
        ModelError: A term is NaN or infinite, or not the one that the config names.
    """
    device = resolve_device(settings.device)
    with torch_state(device=device, num_threads=settings.num_threads, seed=seed), progress or SilentProgress() as told:
        model = build_model(read_spec(inputs)).to(device)
        streams = _open_streams(inputs, settings, seed=seed, device=device)
        result = _fit(model, streams, folder, settings=settings, progress=told)
        write_description(model, folder)
    about = {
        "seed": seed,
        "device": str(device),
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "settings": settings.model_dump(mode="json"),
        "model": describe(model),
        "num_events": {"train": streams[0].num_events, "validation": streams[1].num_events},
        "resident": streams[0].is_resident,
        "result": vars(result),
    }
    (folder / "provenance.json").write_text(json.dumps({**provenance, "training": about}, indent=1))
    return result


def _fit(
    model: Model,
    streams: tuple[BatchStream, BatchStream],
    folder: Path,
    *,
    settings: TrainingSettings,
    progress: TrainingProgress,
) -> TrainingResult:
    """Trains, and writes weights and metrics."""
    train_stream, validation_stream = streams
    weights = dict(model.config.terms)
    optimizer = make_optimizer(model.parameters(), settings)
    schedule = make_schedule(optimizer, settings)
    best = BestWeights(settings.early_stopping_patience, settings.min_delta)
    progress.start(num_epochs=settings.epochs, num_events=train_stream.num_events)
    with MetricsLog(folder, weights=weights, tensorboard=settings.tensorboard) as log:
        for epoch in range(settings.epochs):
            learning_rate = optimizer.param_groups[0]["lr"]
            started = time.perf_counter()
            trained = _train_epoch(
                model,
                train_stream,
                optimizer,
                epoch=epoch,
                weights=weights,
                clip=settings.gradient_clip,
                progress=progress,
            )
            seconds = time.perf_counter() - started
            gradient_norm = trained.pop("gradient_norm")
            validated = _validate(model, validation_stream, epoch=epoch, weights=weights)
            monitored = (validated or trained)["total"]
            schedule(monitored)
            best.update(epoch, monitored, model)
            record = {
                "epoch": epoch,
                "train": trained,
                "validation": validated,
                "learning_rate": learning_rate,
                "gradient_norm": gradient_norm,
                "seconds": seconds,
                "events_per_second": train_stream.num_events / seconds,
            }
            log.add(record)
            progress.epoch(record)
            if best.exhausted:
                break
        log.close(best_epoch=best.epoch, stopped_early=best.exhausted, monitored="validation" if validated else "train")
    save_weights(model.state_dict(), folder / "last.safetensors")
    save_weights(best.weights, folder / "best.safetensors")
    return TrainingResult(best.epoch, best.loss, epoch + 1, best.exhausted, log.events_per_second)


def _train_epoch(
    model: Model,
    stream: BatchStream,
    optimizer: torch.optim.Optimizer,
    *,
    epoch: int,
    weights: Mapping[str, float],
    clip: float | None,
    progress: TrainingProgress,
) -> dict[str, float]:
    """Returns the mean of every term, of their weighted sum and of the gradient's norm over the epoch."""
    model.train()
    parameters = list(model.parameters())
    means = TermMeans([*weights, "total", "gradient_norm"], next(iter(parameters)).device)
    for batch in stream.batches(epoch):
        optimizer.zero_grad(set_to_none=True)
        terms = _loss(model, batch, weights)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        optimizer.step()
        means.add({**terms, "gradient_norm": norm}, len(batch))
        progress.batch(len(batch))
    _check_finite(means, stream, epoch=epoch, split="training")
    return means.read()


def _validate(
    model: Model, stream: BatchStream, *, epoch: int, weights: Mapping[str, float]
) -> dict[str, float] | None:
    """Returns the mean of every term and of their weighted sum over the validation split, None where it is empty."""
    if not stream.num_events:
        return None
    model.eval()
    means = TermMeans([*weights, "total"], next(model.parameters()).device)
    with torch.inference_mode():
        for batch in stream.batches():
            means.add(_loss(model, batch, weights), len(batch))
    _check_finite(means, stream, epoch=epoch, split="validation")
    return means.read()


def _loss(model: Model, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Returns the terms as the model gives them and, as ``total``, their sum weighted by ``weights``."""
    terms = model.loss(batch)
    if set(terms) != set(weights):
        raise ModelError(
            "the model's loss terms are not those of its config", got=", ".join(terms), allowed=", ".join(weights)
        )
    return {**terms, "total": weighted_sum(terms, weights)}


def _check_finite(means: TermMeans, stream: BatchStream, *, epoch: int, split: str) -> None:
    fault = means.first_non_finite()
    if fault is None:
        return
    order = epoch if split == "training" else 0
    ids = next(stream.batches(order, first=fault.batch)).event_id[:5].tolist()
    raise ModelError(
        f"the training has diverged: {fault.name.replace('_', ' ')} is NaN or infinite",
        where=f"epoch {epoch + 1}, {split} batch {fault.batch + 1}",
        got=f"first events of that batch: {', '.join(map(str, ids))}",
        hint="a lower training.learning_rate, training.gradient_clip, or a scaler that bounds the inputs",
    )


def _open_streams(
    inputs: Path, settings: TrainingSettings, *, seed: int, device: torch.device
) -> tuple[BatchStream, BatchStream]:
    """Returns the shuffled stream of the training split and the stream of the validation split."""
    splits = {}
    for split in ("train", "validation"):
        splits[split] = [ModelInputs.open(path) for path in list_inputs(inputs, split).values()]
    if not any(len(source) for source in splits["train"]):
        raise DataError(
            "there are no training events", where=inputs, hint="which samples of the dataset have split hash or train?"
        )
    budget = resident_bytes(settings.resident_mb, device)
    streams = []
    for split, sources in splits.items():
        stream = BatchStream(
            sources,
            batch_size=settings.batch_size,
            device=device,
            shuffle_seed=seed if split == "train" else None,
            resident_bytes=budget,
            event_weights=make_event_weights(settings.event_weights, sources),
        )
        budget -= stream.num_bytes if stream.is_resident else 0
        streams.append(stream)
    return streams[0], streams[1]
