"""Random numbers that belong to an event: the same ones whatever batch the event is in, and on whatever device."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

# of SplitMix64 (Steele, Lea and Flood, 2014), as signed integers
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


class EventNoise:
    """Random numbers that follow from the events' ids, a draw's number and how many have been taken before.

    It stands where a ``torch.Generator`` would, wherever the same event is to have the same random numbers again.

    Args:
        event_id: Ids of the events, (batch,).
        draw: Which of many independent draws it is.
    """

    def __init__(self, event_id: Int[Tensor, " batch"], *, draw: int = 0) -> None:
        self._key = _mixed(_mixed(event_id) + _mixed(torch.full_like(event_id, draw + 1)))
        self._taken = 0

    def uniform(self, *size: int) -> Float[Tensor, "batch ..."]:
        """Returns numbers uniform in [0, 1), shape (batch, *size), in double precision."""
        count = math.prod(size)
        places = torch.arange(self._taken + 1, self._taken + count + 1, device=self._key.device)
        self._taken += count
        bits = _shifted(_mixed(self._key[:, None] + places * _STEP), 11)
        return (bits.double() * 2.0**-53).view(len(self._key), *size)

    def normal(self, *size: int) -> Float[Tensor, "batch ..."]:
        """Returns numbers of a standard normal distribution, shape (batch, *size), in double precision."""
        first, second = self.uniform(*size), self.uniform(*size)
        return torch.sqrt(-2 * torch.log1p(-first)) * torch.cos(2 * math.pi * second)


def _mixed(values: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Returns SplitMix64's hash of each value; products are taken modulo 2^64."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        values = (values ^ _shifted(values, shift)) * factor
    return values ^ _shifted(values, 31)


def _shifted(values: Int[Tensor, "*shape"], shift: int) -> Int[Tensor, "*shape"]:
    """Returns the values moved to the right as if they had no sign."""
    return (values >> shift) & ((1 << (64 - shift)) - 1)
