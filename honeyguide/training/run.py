"""Training: one function for all model families."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from honeyguide.data.event_weights import make_event_weights, refit_reweighting, reweighted, sampled
from honeyguide.data.folds import Fold, split_fold
from honeyguide.data.length_buckets import BucketStream
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.reweighting import Reweighting
from honeyguide.data.row_reweighting import RowSampling, read_row_reweighting
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError, DataError
from honeyguide.nn.cost import cost
from honeyguide.nn.model import Model
from honeyguide.settings import significant_values
from honeyguide.training.checkpoint import Checkpoints
from honeyguide.training.device import resident_bytes, resolve_device, torch_state
from honeyguide.training.latents import write_latent_gaussians
from honeyguide.training.loop import Surroundings, TrainingLoop
from honeyguide.training.metrics import MetricsLog
from honeyguide.training.progress import SilentProgress, TrainingProgress
from honeyguide.training.ranks import Member, Ranks, meet
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.start import begin_with
from honeyguide.training.stopping import StopRequest
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


@dataclass(frozen=True)
class Session:
    """What no result depends on.

    Attributes:
        progress: Is told of batches and epochs.
        checkpoint: Folder for the state of an unfinished training, to be removed by whoever gave it once the training's
            files are safe. A training that finds a state there goes on from it, on a CPU to the same weights to the
            last bit. With it, SIGTERM ends a training after its present step, and not without a checkpoint.
        member: Which of the ``settings.processes`` that train together this one is; all of them call :func:`train` with
            the same arguments otherwise, and the first one writes the files.
        gives_up: Is given each epoch's entry of ``metrics.json`` in the first process, and says whether to end the
            training there, without files.
    """

    progress: TrainingProgress | None = None
    checkpoint: Path | None = None
    member: Member = field(default_factory=Member)
    gives_up: Callable[[Mapping[str, Any]], bool] | None = None


def train(
    inputs: Path | Fold,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: TrainingSettings,
    seed: int,
    provenance: Mapping[str, Any],
    session: Session | None = None,
) -> TrainingResult:
    """Returns the summary of a training, after writing its files.

    On a CPU, with the same numbers of threads and processes, the same seed gives the same weights to the last bit.

    Several processes make the steps that one makes, but for rounding and for what is drawn at random: each takes its
    part of every batch (of training and validation), gradients are averaged over all events, and so are the means that
    decide when to stop. Batch normalisation in training sees a process's own part; its running means are the first
    process's.

    Args:
        inputs: Folder of model inputs; the events of all samples in its splits ``train`` and ``validation`` are used.
            Or one fold of it.
        folder: Existing folder for ``initial.safetensors``, ``best.safetensors``, ``last.safetensors``,
            ``latent_gaussian.json`` (of an anomaly detector), ``model.json``, ``metrics.json``, ``provenance.json`` and
            ``tensorboard/``.
        build_model: Makes the model from the input specification. Its terms and their weights are in its config.
        settings: How to train.
        seed: Seed of the weights, the order of events and the random draws.
        provenance: Plain values about what led here, written to ``provenance.json``.
        session: Progress, and the place of checkpoints.

    Raises:
        DataError: There are no training events.
        ConfigError: There are more or fewer processes than the settings say, or a device is missing.
        ModelError: A term is NaN or infinite, or not the one that the config names; the weights to begin with are those
            of another model.
        StoppedError: The process got SIGTERM; the checkpoint has all that was done.
        AbandonedError: It was given up.
        StoreError: The checkpoint is of another training, or can't be written.
    """
    session = session or Session()
    member = session.member
    device = resolve_device(settings.device, local_rank=member.local_rank)
    told = session.progress or SilentProgress()
    with (
        torch_state(device=device, num_threads=settings.num_threads, seed=seed),
        meet(member, device=device, size=settings.processes) as ranks,
        told,
    ):
        model = build_model(read_spec(inputs.folder if isinstance(inputs, Fold) else inputs))
        told.model(cost(model).line())
        model = model.to(device)
        begun = None if settings.start is None else begin_with(model, settings.start)
        if ranks.is_first:
            save_weights(model.state_dict(), folder / "initial.safetensors")
            write_description(model, folder)
        ranks.seed_own_draws(seed)
        if settings.length_buckets and not model.any_length:
            raise ConfigError(
                "this model needs all slots of its inputs", where="training.length_buckets", allowed=False
            )
        streams = _open_streams(inputs, settings, seed=seed, device=device, part=ranks.part)
        fold = [inputs.number, inputs.count] if isinstance(inputs, Fold) else None
        owner = {"seed": seed, "fold": fold, "num_events": [stream.num_events for stream in streams]}
        checkpoints = _checkpoints(session.checkpoint if ranks.is_first else None, model, settings, owner)
        with StopRequest(listen=session.checkpoint is not None) as stop:
            around = Surroundings(told, checkpoints, stop, session.gives_up)
            result = _fit(model, streams, folder, settings=settings, surroundings=around, ranks=ranks)
        if ranks.is_first and model.is_detector:
            write_latent_gaussians(model, _open_sources(inputs)["train"], folder, batch_size=settings.batch_size)
        about: dict[str, Any] = {
            "seed": seed,
            "fold": fold,
            "device": str(device),
            "num_threads": torch.get_num_threads(),
        }
    about |= {
        "torch": torch.__version__,
        "settings": settings.model_dump(mode="json"),
        "model": describe(model),
        "start": begun,
        "num_events": {"train": streams[0].num_events, "validation": streams[1].num_events},
        "resident": streams[0].is_resident,
        "result": vars(result),
    }
    if ranks.is_first:
        (folder / "provenance.json").write_text(json.dumps({**provenance, "training": about}, indent=1))
    return result


def _fit(
    model: Model,
    streams: tuple[BatchStream, BatchStream],
    folder: Path,
    *,
    settings: TrainingSettings,
    surroundings: Surroundings,
    ranks: Ranks,
) -> TrainingResult:
    """Trains, and writes weights and metrics in the first process."""
    tensorboard, weights = settings.tensorboard and ranks.is_first, model.config.terms | model.annealable
    with MetricsLog(folder, weights=weights, tensorboard=tensorboard) as log:
        loop = TrainingLoop(model, streams, log, settings=settings, surroundings=surroundings, ranks=ranks)
        loop.run()
        best = loop.best
        if ranks.is_first:
            monitored = "validation" if streams[1].num_events else "train"
            log.close(best_epoch=best.epoch, stopped_early=best.exhausted, monitored=monitored)
            loop.save_weights(folder)
    return TrainingResult(best.epoch, best.loss, len(log.epochs), best.exhausted, log.events_per_second)


def _checkpoints(
    folder: Path | None, model: Model, settings: TrainingSettings, owner: Mapping[str, Any]
) -> Checkpoints:
    whole = {
        **owner,
        "settings": significant_values(settings),
        "model": describe(model),
        "inputs": model.spec.model_dump(mode="json"),
    }
    return Checkpoints(
        folder, owner=whole, every_epochs=settings.checkpoint_epochs, every_seconds=settings.checkpoint_seconds
    )


def _open_sources(inputs: Path | Fold) -> dict[str, list[ModelInputs]]:
    """Returns the events of ``train`` and of ``validation``."""
    folder = inputs.folder if isinstance(inputs, Fold) else inputs
    splits = {}
    for split in ("train", "validation"):
        splits[split] = [ModelInputs.open(path) for path in list_inputs(folder, split).values()]
    if isinstance(inputs, Fold):
        splits["train"], splits["validation"] = split_fold([*splits["train"], *splits["validation"]], inputs)
    if not any(len(source) for source in splits["train"]):
        raise DataError(
            "there are no training events", where=folder, hint="which samples of the dataset have split hash or train?"
        )
    return splits


def _open_streams(
    inputs: Path | Fold, settings: TrainingSettings, *, seed: int, device: torch.device, part: tuple[int, int]
) -> tuple[BatchStream, BatchStream]:
    """Returns the shuffled stream of the events that train and the stream of those that validate."""
    splits = _open_sources(inputs)
    reweighting = _reweighting(inputs, splits["train"], settings)
    budget = resident_bytes(settings.resident_mb, device)
    streams = []
    for split, sources in splits.items():
        is_training = split == "train"
        weights = make_event_weights(settings.event_weights, sources)
        if reweighting is not None and is_training and not settings.loss_weighting:
            weights = sampled(weights, RowSampling(reweighting, seed), sources)
        elif reweighting is not None:
            weights = reweighted(weights, reweighting, sources)
        stream = (BucketStream if settings.length_buckets else BatchStream)(
            sources,
            batch_size=settings.batch_size * (settings.accumulate if is_training else 1),
            device=device,
            # always the same order, but a mixed one: terms that compare events need batches of all samples
            shuffle_seed=seed if is_training else 0,
            resident_bytes=budget,
            event_weights=weights,
            part=part,
        )
        budget -= stream.num_bytes if stream.is_resident else 0
        streams.append(stream)
    return streams[0], streams[1]


def _reweighting(inputs: Path | Fold, sources: Sequence[ModelInputs], settings: TrainingSettings) -> Reweighting | None:
    """Returns how rows are reweighted, None for not at all.

    It is what the model inputs have for their training split; with weights of events, or in a fold, it is made again
    of the spectra that train, with these weights.
    """
    found = read_row_reweighting(inputs.folder if isinstance(inputs, Fold) else inputs)
    if found is None or (settings.event_weights == "none" and not isinstance(inputs, Fold)):
        return found
    return refit_reweighting(found, sources, make_event_weights(settings.event_weights, sources))
