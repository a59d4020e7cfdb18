"""The processes that train one model together: who they are, and what they tell each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from honeyguide.data.batch import part_of
from honeyguide.errors import ConfigError

_STEPS_BETWEEN = 8  # of 7 ms each, asking at every step took 7 % of a training on two processes


@dataclass(frozen=True)
class Member:
    """One of the processes that train together, as its launcher knows it.

    Attributes:
        rank: Its number over all nodes, from 0.
        size: Number of processes over all nodes.
        local_rank: Its number on its node, from 0: the GPU that it uses.
        address: ``host:port`` where all of them meet; not needed by one that is alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: str = ""


class Ranks:
    """What the processes tell each other; one that is alone is told what it said.

    All of them must call the same methods in the same order.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and talks to people."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """Which part of every batch is this process's, and of how many."""
        return self.rank, self.size

    def num_own(self, num_events: int) -> int:
        """Returns how many events of a batch of ``num_events`` are this process's."""
        low, high = part_of(num_events, self.part)
        return high - low

    def ask_at(self, number: int) -> bool:
        """Returns whether to ask for wishes at the step of that number: now and then where it takes time."""
        return self.size == 1 or number % _STEPS_BETWEEN == 0

    def any(self, *wishes: bool) -> tuple[bool, ...]:
        """Returns for each wish whether any process has it.

        The flags are exchanged between the CPUs: no process waits for its GPU.
        """
        if self.size == 1:
            return wishes
        flags = torch.tensor(wishes, dtype=torch.uint8)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return tuple(map(bool, flags.tolist()))

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum of the tensors of all processes."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def smallest(self, values: Tensor) -> Tensor:
        """Returns the smallest of the values of all processes, element by element."""
        return self._reduced(values, distributed.ReduceOp.MIN)

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        if self.size == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total, operation)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Returns what each process has given, in their order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_first(self, make: Callable[[], Any]) -> Any:
        """Returns what ``make`` returns in the first process; the others do not call it."""
        values = [make() if self.is_first else None]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Gives the tensors of all processes the values of the first one's."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def seed_own_draws(self, seed: int) -> None:
        """Gives this process random numbers of its own; the first one keeps those of a process that is alone."""
        if not self.is_first:
            torch.manual_seed(int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0]))


@contextlib.contextmanager
def meet(member: Member, *, device: torch.device, size: int) -> Iterator[Ranks]:
    """Yields the ranks once all processes have met, and parts when the block ends without an error.

    After an error nothing is closed: that would wait for the others, and the process is about to end.

    Args:
        member: Which of them this one is.
        device: Where this process computes.
        size: How many there should be.

    Raises:
        ConfigError: There are more or fewer.
    """
    if member.size != size:
        raise ConfigError("another number of processes than the settings say", where="training.processes",
                          got=member.size, allowed=size)  # fmt: skip
    if size == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # what is small and decides something travels between the CPUs, gradients between the GPUs
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method=f"tcp://{member.address}",
        rank=member.rank,
        world_size=size,
    )
    yield Ranks(member.rank, size)
    distributed.destroy_process_group()
