"""Attention of transformers: what the objects of single jets read of each other, and means over many jets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.some_rows import as_batch, read_rows_by_id, read_some_rows
from honeyguide.errors import ModelError
from honeyguide.evaluation.attention_settings import AttentionSettings
from honeyguide.nn.model import Model
from honeyguide.training.device import resolve_device, torch_state
from honeyguide.training.weights import BuildModel, load_model

SCHEMA = 1
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class JetAttention:
    """The attention in one jet; its objects are in the order of falling pt.

    Attributes:
        event_id: The jet.
        truth: Name of its truth.
        attention: How much the first object reads of the second, (block, head, object, object).
        class_attention: How much the class token reads of itself and of each object, (block, head, 1 + object).
        pt: Of the objects [GeV], (object,).
        deta: Their pseudorapidity from that of all objects together.
        dphi: Their azimuth from that of all objects together.
    """

    event_id: int
    truth: str
    attention: Floats
    class_attention: Floats
    pt: Floats
    deta: Floats
    dphi: Floats


@dataclass(frozen=True)
class MeanAttention:
    """The mean attention of the jets of one truth, over those that have both objects.

    Attributes:
        truth: Name of the truth.
        num_jets: How many jets there were.
        attention: By rank in pt, (block, head, rank, rank); NaN where no jet has so many objects.
        class_attention: Of the class token itself and of each rank, (block, head, 1 + rank).
    """

    truth: str
    num_jets: int
    attention: Floats
    class_attention: Floats


def look_at_attention(
    training: Path, inputs: Path, folder: Path, *, build_model: BuildModel, settings: AttentionSettings
) -> tuple[list[JetAttention], list[MeanAttention]]:
    """Returns the attention in single test jets and the means per truth, after writing and drawing them.

    Files: ``attention.h5``, and figures of matrices and in the plane of eta and phi (PNG, PDF).

    Args:
        training: Folder that :func:`honeyguide.training.run.train` has written.
        inputs: Folder of model inputs; jets of its test split are used.
        folder: Existing folder to write to.
        build_model: Makes an untrained model of the trained family and config from an input specification.
        settings: Which jets, and how many objects.

    Raises:
        ModelError: The model has no attention that could be looked at.
        DataError: There is no test jet with one of the given ids, or none at all.
        StoreError: A file is missing or damaged.
    """
    from honeyguide.plotting.attention import draw_attention  # matplotlib is slow to import

    files = list_inputs(inputs, "test")
    device = resolve_device(settings.device)
    with torch_state(device=device, num_threads=settings.num_threads):
        model = load_model(training, build_model, which=settings.weights).to(device)
        rows = read_some_rows(files, settings.mean_jets, seed=settings.seed)
        seen = list(attention_of(model, rows, batch_size=settings.batch_size))
        jets = _first_of_each(seen, model.spec.truths, settings.jets_per_class)
        if settings.event_ids:
            jets += attention_of(model, read_rows_by_id(files, settings.event_ids), batch_size=settings.batch_size)
    means = mean_attention(seen, settings.objects)
    write_attention(jets, means, folder / "attention.h5")
    draw_attention(jets, means, folder, settings=settings)
    return jets, means


def attention_of(model: Model, rows: ModelInputs, *, batch_size: int) -> Iterator[JetAttention]:
    """Yields the attention in each of the rows.

    Raises:
        ModelError: The model has no attention that could be looked at, or its objects have no four-momenta.
    """
    if any(not item.vectors for item in model.spec.sets):
        raise ModelError("attention is shown where objects have four-momenta", hint="preprocess.sets.<name>.vectors")
    truths = [*model.spec.truths, "none"]
    whole, device = as_batch(rows), next(model.parameters()).device
    for low in range(0, len(whole), batch_size):
        batch = whole.rows(low, low + batch_size)
        with torch.inference_mode():
            seen = {name: value.float().cpu().numpy() for name, value in model.inspect(batch.to(device)).items()}
        maps, class_maps = (_blocks(seen, prefix) for prefix in ("attention/", "class_attention/"))
        if maps is None or class_maps is None:
            raise ModelError("this model has no attention to look at", hint="model.network: particle_transformer has")
        for number in range(len(batch)):
            truth = truths[-1 if batch.truth is None else int(batch.truth[number])]
            yield _jet(batch, number, truth, (maps[:, number], class_maps[:, number]))


def mean_attention(jets: Sequence[JetAttention], num_objects: int) -> list[MeanAttention]:
    """Returns the means over the jets of each truth, of the objects with the largest pt."""
    found = []
    for truth in dict.fromkeys(jet.truth for jet in jets):
        mine = [jet for jet in jets if jet.truth == truth]
        square = [_extended(jet.attention, num_objects, 2) for jet in mine]
        line = [_extended(jet.class_attention, num_objects + 1, 1) for jet in mine]
        found.append(MeanAttention(truth, len(mine), _mean(square), _mean(line)))
    return found


def write_attention(jets: Sequence[JetAttention], means: Sequence[MeanAttention], path: Path) -> None:
    """Writes everything as HDF5: ``jets/<event id>`` and ``means/<truth>``."""
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for jet in jets:
            group = file.require_group(f"jets/{jet.event_id}")
            group.attrs["truth"] = jet.truth
            for name in ("attention", "class_attention", "pt", "deta", "dphi"):
                group[name] = getattr(jet, name)
        for mean in means:
            group = file.create_group(f"means/{mean.truth}")
            group.attrs["num_jets"] = mean.num_jets
            group["attention"], group["class_attention"] = mean.attention, mean.class_attention


def _jet(batch: Batch, number: int, truth: str, maps: tuple[Floats, Floats]) -> JetAttention:
    sets = batch.sets.values()
    mask = torch.cat([item.mask[number] for item in sets]).numpy()
    vectors = np.concatenate([np.asarray(item.vectors)[number] for item in sets])[mask].astype(np.float64)
    pt = np.hypot(vectors[:, 0], vectors[:, 1])
    order = np.argsort(-pt, kind="stable")
    slots = np.flatnonzero(mask)[order]
    eta, phi = _direction(vectors[order])
    axis_eta, axis_phi = _direction(vectors.sum(0, keepdims=True))
    return JetAttention(
        event_id=int(batch.event_id[number]),
        truth=truth,
        attention=maps[0][:, :, slots][..., slots],
        class_attention=maps[1][:, :, np.concatenate([[0], 1 + slots])],
        pt=pt[order].astype(np.float32),
        deta=(eta - axis_eta).astype(np.float32),
        dphi=((phi - axis_phi + np.pi) % (2 * np.pi) - np.pi).astype(np.float32),
    )


def _direction(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pt = np.hypot(vectors[:, 0], vectors[:, 1])
    eta = np.arcsinh(vectors[:, 2] / np.where(pt > 0, pt, 1))
    return eta, np.arctan2(vectors[:, 1], vectors[:, 0])


def _blocks(seen: Mapping[str, Floats], prefix: str) -> Floats | None:
    """Returns the maps of all blocks, (block, batch, ...); None without any."""
    names = sorted((name for name in seen if name.startswith(prefix)), key=lambda name: int(name.split("/")[1]))
    return np.stack([seen[name] for name in names]) if names else None


def _first_of_each(jets: Sequence[JetAttention], truths: Sequence[str], number: int) -> list[JetAttention]:
    return [jet for truth in truths for jet in [jet for jet in jets if jet.truth == truth][:number]]


def _extended(values: Floats, size: int, num_axes: int) -> Floats:
    """Returns the values with ``size`` entries along each of the last axes: cut, or with NaN where there are none."""
    values = values[..., :size] if num_axes == 1 else values[..., :size, :size]
    missing = [(0, 0)] * (values.ndim - num_axes) + [(0, size - values.shape[-1])] * num_axes
    return np.pad(values, missing, constant_values=np.nan)


def _mean(values: Sequence[Floats]) -> Floats:
    stacked = np.stack(values).astype(np.float64)
    count = np.isfinite(stacked).sum(0)
    mean = np.nansum(stacked, axis=0) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan).astype(np.float32)
