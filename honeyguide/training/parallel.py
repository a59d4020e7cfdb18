"""A loss whose gradients are averaged over the processes that train together."""

# annotations are not postponed here: DDP looks at those of its hook

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from honeyguide.data.batch import Batch

Terms = Callable[[Batch], dict[str, Tensor]]


def distribute(model: nn.Module, terms: Terms) -> DistributedDataParallel:
    """Returns what computes ``terms`` of ``model`` and averages the gradients while they come."""
    # gradients of convolutions come with the channels last: one small copy each, of which torch warns
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    wrapped = DistributedDataParallel(_AsForward(model, terms), gradient_as_bucket_view=True)
    if next(model.parameters()).device.type == "cpu" and distributed.get_world_size() > 2:
        wrapped.register_comm_hook(None, _average)
    return wrapped


class _AsForward(nn.Module):
    """A function of a batch as the ``forward`` of the model's module, which is what DDP wraps."""

    def __init__(self, model: nn.Module, terms: Terms) -> None:
        super().__init__()
        self.model = model
        self._terms = terms

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the terms of a batch."""
        return self._terms(batch)


def _average(_state: None, bucket: GradBucket) -> Future[Tensor]:
    """Returns the mean of a bucket of gradients over the processes, added up in their order.

    How gloo rounds a sum of more than two depends on where in its bucket a gradient lies, and DDP lays the buckets out
    anew after its first step: a training that goes on after a break would not come to the same bits.
    """
    own = bucket.buffer()
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    total, *others = parts
    for part in others:
        total += part
    mean: Future[Tensor] = Future()
    mean.set_result(total.div_(len(parts)))
    return mean
