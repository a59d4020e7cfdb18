"""Random changes of events that a detector or a symmetry could have made: views for contrastive training.

They act on scaled batches, since a model sees nothing else, and take all they need to know of them from the
``InputSpec``. What is drawn comes from the given ``torch.Generator`` (which must be on the batch's device) or
:class:`EventNoise`, or from torch's own generator where none is given; one state gives one view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from honeyguide.data.augment_settings import AugmentationSettings
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.noise import EventNoise
from honeyguide.errors import ConfigError

RandomSource = torch.Generator | EventNoise | None

AZIMUTHS = ("phi", "jet_phi", "met_phi")
"""Angles that a rotation about the beam changes; ``delta_phi`` is relative, and stays."""


def augment(batch: Batch, spec: InputSpec, settings: AugmentationSettings, *, generator: RandomSource = None) -> Batch:
    """Returns a view of each event of the batch.

    Args:
        batch: The events.
        spec: What their columns are.
        settings: How a view differs from the event.
        generator: Where the random numbers come from.

    Raises:
        ConfigError: See :func:`check_augmentation`.
    """
    for feature, width in settings.smear.items():
        batch = smear(batch, spec, width=width, feature=feature, generator=generator)
    if settings.rotate:
        batch = rotate(batch, spec, generator=generator)
    if settings.drop:
        batch = drop_objects(batch, rate=settings.drop, generator=generator)
    return batch


def check_augmentation(spec: InputSpec, settings: AugmentationSettings) -> None:
    """Checks that views of these inputs can be made, and differ.

    Raises:
        ConfigError: A feature can't be smeared, an azimuth is no sine and cosine, an event has no object to lose, or
            every view would be the event itself.
    """
    for feature in settings.smear:
        spec.continuous_column(feature, where="model.augmentation.smear")
    azimuths = [*azimuth_columns(spec.columns), *azimuth_columns(spec.event_columns)] if settings.rotate else []
    if settings.drop and spec.num_objects == 1:
        raise ConfigError(
            "an event of one object has none to lose in a view",
            where="model.augmentation.drop",
            got=f"drop {settings.drop:g}, with one object at preprocess.level {spec.level}",
            hint="set drop to 0",
        )
    if not (settings.smear or azimuths or settings.drop):
        raise ConfigError("all views of an event would be the same", hint="set smear, drop, or rotate with azimuths")


def smear(batch: Batch, spec: InputSpec, *, width: float, feature: str = "pt", generator: RandomSource = None) -> Batch:
    """Returns the batch with a Gaussian random number added to a feature of every object.

    Args:
        batch: The events.
        spec: What their columns are.
        width: Standard deviation in scaled units. With the scaler ``log+standard`` that is the relative resolution,
            divided by the standard deviation of log(1 + pt): about 1 for constituents.
        feature: A continuous feature of the objects that has one column.
        generator: Where the numbers come from.

    Raises:
        ConfigError: The objects have no such column.
    """
    index = spec.continuous_column(feature, where="smear")
    noise = _normal(batch.objects, batch.mask.shape, generator)
    objects = batch.objects.clone()
    objects[..., index] += width * noise * batch.mask
    return replace(batch, objects=objects)


def rotate(batch: Batch, spec: InputSpec, *, generator: RandomSource = None) -> Batch:
    """Returns the batch with each event turned about the beam by its own angle, uniform in all angles.

    Sines and cosines of all azimuths (:data:`AZIMUTHS`) are turned, of the objects and of the event, so that no
    difference of azimuths in an event changes.

    Raises:
        ConfigError: An azimuth is scaled in another way than by ``sincos``.
    """
    angle = 2 * math.pi * _uniform(batch.objects, batch.mask.shape[:1], generator)
    return replace(
        batch,
        objects=_turned(batch.objects, azimuth_columns(spec.columns), angle[:, None]),
        event=_turned(batch.event, azimuth_columns(spec.event_columns), angle),
    )


def drop_objects(batch: Batch, *, rate: float, generator: RandomSource = None) -> Batch:
    """Returns the batch without some of its objects: each is dropped with probability ``rate``.

    An event that would lose all keeps one of them, each with the same probability. Features of the event or of a jet
    that count objects are not changed.
    """
    draws = _uniform(batch.objects, batch.mask.shape, generator)
    # the luckiest is kept in any case; empty slots never are the luckiest of an event with objects
    luckiest = draws.masked_fill(~batch.mask, -1).argmax(1, keepdim=True)
    kept = batch.mask & (draws >= rate).scatter(1, luckiest, True)
    return replace(batch, mask=kept, objects=batch.objects.masked_fill(~kept.unsqueeze(-1), 0))


def azimuth_columns(columns: Sequence[Column]) -> list[tuple[int, int]]:
    """Returns the places of the sine and the cosine of every azimuth among the columns.

    Raises:
        ConfigError: An azimuth is scaled in another way than by ``sincos``.
    """
    names = [column.name for column in columns]
    pairs = []
    for feature in dict.fromkeys(column.feature for column in columns if column.feature in AZIMUTHS):
        pair = (f"sin({feature})", f"cos({feature})")
        if not set(pair) <= set(names):
            raise ConfigError(
                f"events can't be rotated: '{feature}' is not given as sine and cosine",
                got=", ".join(column.name for column in columns if column.feature == feature),
                hint="set its scaler to sincos in preprocess.features",
            )
        pairs.append((names.index(pair[0]), names.index(pair[1])))
    return pairs


def _normal(like: Tensor, shape: Sequence[int], source: RandomSource) -> Tensor:
    if isinstance(source, EventNoise):
        return source.normal(*shape[1:]).to(like.dtype)
    return torch.randn(shape, generator=source, device=like.device, dtype=like.dtype)


def _uniform(like: Tensor, shape: Sequence[int], source: RandomSource) -> Tensor:
    if isinstance(source, EventNoise):
        return source.uniform(*shape[1:]).to(like.dtype)
    return torch.rand(shape, generator=source, device=like.device, dtype=like.dtype)


def _turned(
    values: Float[Tensor, "*rows column"], pairs: Sequence[tuple[int, int]], angle: Float[Tensor, "*broadcast"]
) -> Float[Tensor, "*rows column"]:
    # empty slots have sine and cosine 0, and keep them
    sin, cos, turned = angle.sin(), angle.cos(), values.clone()
    for sine, cosine in pairs:
        turned[..., sine] = values[..., sine] * cos + values[..., cosine] * sin
        turned[..., cosine] = values[..., cosine] * cos - values[..., sine] * sin
    return turned
