"""What makes generators indistinguishable in the latent space: a distance between them, and a reversed gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from honeyguide.losses.across_ranks import gather, rank_sizes

_SCALES = (0.5, 1.0, 2.0)


def maximum_mean_discrepancy(
    latent: Float[Tensor, "batch latent"],
    generator: Int[Tensor, " batch"],
    *,
    num_generators: int,
    bandwidths: Sequence[float] | None = None,
    unbiased: bool = True,
    weight: Float[Tensor, " batch"] | None = None,
    across_ranks: bool = False,
) -> Float[Tensor, ""]:
    """Returns the squared maximum mean discrepancy, mean over pairs of generators (JMLR 13 (2012) 723, section 2.2).

    For two samples and the kernel k, the mean over bandwidths h of ``exp(-|x - y|² / 2h²)``, it is
    ``E k(x, x') + E k(y, y') - 2 E k(x, y)``: 0 if and only if both have the same distribution.

    Generators with fewer than two events of positive weight in the batch (one, if biased) take no part; the result is
    0 where there is no pair.

    Args:
        latent: Latent vectors.
        generator: Codes from 0 to ``num_generators - 1``.
        num_generators: Number of codes.
        bandwidths: Values of h. If not given: 1/2, 1 and 2 times the median distance in the batch, without gradient;
            then the result does not change with the scale of the latents, and can't be lowered by shrinking them.
        unbiased: Leave out each event's similarity with itself; the result can then be below 0.
        weight: Event weights, if they are not all the same; not negative.
        across_ranks: Take the events of all ranks together, of which each rank has its own part, also of unequal size.
            The result is the same on every rank. The mean over ranks of the gradients, each in the rank's share of the
            events times the number of ranks, is that of the joined batch.
    """
    if across_ranks:
        latent, generator, weight = _joined(latent, generator, weight)
    latent = latent.to(torch.promote_types(latent.dtype, torch.float32))
    squares = _squared_distances(latent)
    same = torch.eye(len(latent), dtype=torch.bool, device=latent.device)
    kernel = _kernel(squares, _bandwidths(squares, bandwidths)).masked_fill(same, 0)
    members = generator[None, :] == torch.arange(num_generators, device=latent.device)[:, None]
    share = members.to(latent.dtype) if weight is None else members * weight.to(latent.dtype)
    share = share / share.sum(1, keepdim=True).clamp(min=torch.finfo(latent.dtype).tiny)
    with torch.autocast(latent.device.type, enabled=False):
        mean = share @ kernel @ share.T
    # what an event's similarity with itself, 1, has in the mean over all pairs of its generator
    own = share.square().sum(1)
    counts = (share > 0).sum(1) >= (2 if unbiased else 1)
    within = mean.diagonal() / (1 - own).masked_fill(~counts, 1) if unbiased else mean.diagonal() + own
    discrepancy = within[:, None] + within[None, :] - 2 * mean
    pairs = torch.triu(counts[:, None] & counts[None, :], diagonal=1)
    return discrepancy.masked_fill(~pairs, 0).sum() / pairs.sum().clamp(min=1)


def reverse_gradient(values: Float[Tensor, "*shape"], strength: float | Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
    """Returns the values as they are; their gradient is multiplied by ``-strength`` (arXiv:1505.07818, section 4.2).

    What comes before thus learns to raise the loss that what comes after learns to lower.
    """
    reversed_: Tensor = _Reversal.apply(values, strength)  # type: ignore[no-untyped-call]
    return reversed_


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float | Tensor) -> Tensor:
        ctx.save_for_backward(torch.as_tensor(strength))
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return -strength * gradients[0], None


def _joined(
    latent: Float[Tensor, "batch latent"], generator: Int[Tensor, " batch"], weight: Float[Tensor, " batch"] | None
) -> tuple[Float[Tensor, "all latent"], Int[Tensor, " all"], Float[Tensor, " all"] | None]:
    """Returns the events of all ranks."""
    sizes = rank_sizes(latent, across_ranks=True)
    weights = None if weight is None else gather(weight, sizes)[0]
    return gather(latent, sizes)[0], gather(generator, sizes)[0], weights


def _squared_distances(latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch batch"]:
    # centred: the digits of a common offset would be lost in the differences below
    latent = latent - latent.detach().mean(0)
    norms = latent.square().sum(1)
    with torch.autocast(latent.device.type, enabled=False):
        return (norms[:, None] + norms[None, :] - 2 * latent @ latent.T).clamp(min=0)


def _bandwidths(squares: Float[Tensor, "batch batch"], given: Sequence[float] | None) -> list[float] | list[Tensor]:
    if given is not None:
        return list(given)
    # of all pairs twice; the batch's diagonal of zeros shifts it by half a rank per event
    median = squares.detach().median().sqrt().clamp(min=torch.finfo(squares.dtype).eps)
    return [scale * median for scale in _SCALES]


def _kernel(
    squares: Float[Tensor, "batch batch"], bandwidths: list[float] | list[Tensor]
) -> Float[Tensor, "batch batch"]:
    kernel = torch.zeros_like(squares)
    for bandwidth in bandwidths:
        kernel = kernel + torch.exp(-squares / (2 * bandwidth**2))
    return kernel / len(bandwidths)
