"""Masked reconstruction losses: what stands in padded slots contributes nothing."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

Elementwise = Callable[..., Tensor]

ELEMENTWISE: dict[str, Elementwise] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}
"""Losses of one entry, by name: squared error, absolute error, Huber's (quadratic within 1, linear beyond)."""


def masked_reconstruction(
    reconstructed: Float[Tensor, "batch object feature"],
    objects: Float[Tensor, "batch object feature"],
    mask: Bool[Tensor, "batch object"],
    *,
    loss: str,
    reconstructed_event: Float[Tensor, "batch event_feature"] | None = None,
    event: Float[Tensor, "batch event_feature"] | None = None,
) -> Float[Tensor, " batch"]:
    """Returns the mean loss over the valid entries of each event, shape (batch,).

    Valid are the features of all objects that the mask holds, and all event features. An event without any valid entry
    has loss 0.

    Args:
        reconstructed: Decoded objects.
        objects: The objects themselves; where the mask is False any value may stand, also NaN.
        mask: True where there is an object.
        loss: A key of :data:`ELEMENTWISE`.
        reconstructed_event: Decoded event features, if there are any.
        event: The event features themselves.
    """
    entry_loss = ELEMENTWISE[loss]
    # masked before the loss, not after: 0 * NaN is NaN, in the gradient too
    padding = ~mask.unsqueeze(-1)
    entries = entry_loss(reconstructed.masked_fill(padding, 0), objects.masked_fill(padding, 0), reduction="none")
    total = entries.flatten(1).sum(1)
    count = mask.sum(1) * objects.shape[-1]
    if event is not None and reconstructed_event is not None and event.shape[-1]:
        total = total + entry_loss(reconstructed_event, event, reduction="none").sum(1)
        count = count + event.shape[-1]
    return total / count.clamp(min=1)
