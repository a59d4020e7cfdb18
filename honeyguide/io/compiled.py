"""Compilation of the few loops that are too slow in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Returns ``function`` compiled by numba at its first call, from numba's cache on disk where there is one.

    numba keeps the cache beside the source, or in the user's cache folder where the source is read-only. Where neither
    can be written (a batch node without a home) it refuses at import; then each process compiles anew.
    """
    try:
        result: Function = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        result = numba.njit(nogil=True)(function)
    return result
