"""Rows of all ranks of a distributed training, for losses that compare the events of a batch with one another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def rank_sizes(local: Tensor, across_ranks: bool) -> list[int]:
    """Returns the number of rows on each rank; one number where this process is to stay alone."""
    if not (across_ranks and distributed.is_available() and distributed.is_initialized()):
        return [len(local)]
    # between the CPUs: nobody waits for a GPU
    sizes = [torch.empty(1, dtype=torch.int64) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, torch.tensor([len(local)]))
    return [int(size) for size in torch.cat(sizes).tolist()]


def gather(local: Tensor, sizes: list[int]) -> tuple[Tensor, int]:
    """Returns the rows of all ranks in the order of the ranks, and at which of them those of this rank begin."""
    if len(sizes) == 1:
        return local, 0
    first = sum(sizes[: distributed.get_rank()])
    rows: Tensor = _Gather.apply(local, sizes, first)  # type: ignore[no-untyped-call]
    return rows, first


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backwards, the sum over ranks of the gradients that they have for this rank's rows.

    ``distributed.all_gather`` has no gradient, and putting the local rows back into its result gives only a part of
    it: what the other ranks' losses say about this rank's rows would be lost.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, sizes: list[int], first: int) -> Tensor:
        ctx.place = slice(first, first + len(local))
        # ranks may differ in size, the tensors of one collective may not
        padded = local.new_zeros((max(sizes), *local.shape[1:]))
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[ctx.place], None, None
