"""Devices, threads and random states."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from honeyguide.errors import ConfigError

_CPU_RESIDENT = 2**30


def resolve_device(name: str, *, local_rank: int = 0) -> torch.device:
    """Returns the device that ``name`` stands for; ``auto`` is a GPU where there is one, else the CPU.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        local_rank: Number of this process on its node; others than the first get the GPU of that number.

    Raises:
        ConfigError: There is no such device, or it is not in this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_rank:
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            "the device can't be used here",
            got=f"{name} ({str(error).splitlines()[0]})",
            allowed="auto, cpu, cuda, cuda:N",
        ) from error
    return device


def resident_bytes(megabytes: int | None, device: torch.device) -> int:
    """Returns how many bytes of events may stay on the device."""
    if megabytes is not None:
        return megabytes * 2**20
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return _CPU_RESIDENT


@contextlib.contextmanager
def torch_state(*, device: torch.device, num_threads: int | None, seed: int | None = None) -> Iterator[None]:
    """Sets torch's threads and random state for a block, and puts both back after it."""
    threads = torch.get_num_threads()
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if num_threads is not None:
                torch.set_num_threads(num_threads)
            if seed is not None:
                torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Returns the state of torch's random numbers on the CPU and on the device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Puts a state of torch's random numbers back; on another kind of device than before, that device's stays."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
