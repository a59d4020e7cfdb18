"""Contrastive losses on latent vectors, within a batch or across the batches of all ranks of a distributed training.

All work on cosines, in float32 at least: divided by a temperature of 0.07, the rounding of bfloat16 would be 0.06.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from honeyguide.losses.across_ranks import gather, rank_sizes

_SMALLEST_NORM = 1e-6  # shorter vectors count as this long: bounds the gradient where latents have collapsed to 0


def supervised_contrastive(
    latent: Float[Tensor, "batch latent"],
    label: Int[Tensor, " batch"],
    *,
    temperature: float | Tensor,
    across_ranks: bool = False,
) -> Float[Tensor, " batch"]:
    """Returns the supervised contrastive loss of each event (equation 2 of arXiv:2004.11362), shape (batch,).

    For the event i, with the others of its label P(i) and the cosines s of latent vectors,

        L_i = -1 / |P(i)| sum_{p in P(i)} log(exp(s_ip / T) / sum_{a != i} exp(s_ia / T)).

    It draws events of one label together and pushes labels apart. An event whose label occurs once has loss 0, and is
    still one that the others are pushed away from.

    Args:
        latent: Latent vectors of any length; their directions alone matter.
        label: What shall lie together, e.g. the generator.
        temperature: T, above 0; a small one makes near neighbours of other labels count most.
        across_ranks: Compare with the events of all ranks, of which each rank has its own part, also of unequal size.
            The mean over ranks of the gradients, as DistributedDataParallel takes it, is that of the joined batch.
    """
    latent = _directions(latent)
    sizes = rank_sizes(latent, across_ranks)
    others, first = gather(latent, sizes)
    labels, _ = gather(label, sizes)
    itself = _places(len(latent), first, latent.device)
    log_share = _log_share(_cosines(latent, others) / temperature, itself)
    positive = label[:, None] == labels
    positive = positive.scatter(1, itself[:, None], False)
    total = log_share.masked_fill(~positive, 0).sum(1)
    return -total / positive.sum(1).clamp(min=1)


def ntxent(
    first: Float[Tensor, "batch latent"],
    second: Float[Tensor, "batch latent"],
    *,
    temperature: float | Tensor,
    across_ranks: bool = False,
) -> Float[Tensor, " batch"]:
    """Returns the NT-Xent loss of each event (equation 1 of arXiv:2002.05709), shape (batch,).

    Both views of an event are classified among all other views by their cosine; the mean of the two losses is the
    event's.

    Args:
        first: Latent vectors of one augmented view of the events.
        second: Those of another view of the same events.
        temperature: What cosines are divided by, above 0.
        across_ranks: Compare with the views of all ranks; see :func:`supervised_contrastive`.
    """
    first, second = _directions(first), _directions(second)
    sizes = rank_sizes(first, across_ranks)
    (all_first, start), (all_second, _) = gather(first, sizes), gather(second, sizes)
    others = torch.cat([all_first, all_second])
    one = _places(len(first), start, first.device)
    other = one + len(all_first)
    itself, partner = torch.cat([one, other]), torch.cat([other, one])
    log_share = _log_share(_cosines(torch.cat([first, second]), others) / temperature, itself)
    both = -log_share.gather(1, partner[:, None]).view(2, len(first))
    return both.mean(0)


def _directions(latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    latent = latent.to(torch.promote_types(latent.dtype, torch.float32))
    return functional.normalize(latent, dim=-1, eps=_SMALLEST_NORM)


def _cosines(some: Float[Tensor, "some latent"], others: Float[Tensor, "all latent"]) -> Float[Tensor, "some all"]:
    with torch.autocast(some.device.type, enabled=False):
        return some @ others.T


def _places(num_rows: int, first: int, device: torch.device) -> Int[Tensor, " some"]:
    """Returns where each local row stands among the rows of all ranks."""
    return torch.arange(first, first + num_rows, device=device)


def _log_share(logits: Float[Tensor, "some all"], itself: Int[Tensor, " some"]) -> Float[Tensor, "some all"]:
    """Returns the log-softmax of each row over all columns but the one that is the row itself."""
    excluded: Bool[Tensor, "some all"] = torch.zeros_like(logits, dtype=torch.bool).scatter(1, itself[:, None], True)
    return torch.log_softmax(logits.masked_fill(excluded, -torch.inf), dim=1)
