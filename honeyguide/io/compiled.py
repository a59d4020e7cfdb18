"""Compilation of the few loops that are too slow in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Returns ``function`` compiled by numba at its first call, from numba's cache on disk where there is one.

    numba keeps the cache beside the source, or in the user's cache folder where the source is read-only. Where neither
    can be written (a batch node without a home) it refuses at import; then each process compiles anew.
    """
    return _compile(function, contract=False)


def compiled_contracting(function: Function) -> Function:
    """Returns ``function`` compiled as by :func:`compiled`, where a * b + c may be rounded once."""
    return _compile(function, contract=True)


def _compile(function: Function, *, contract: bool) -> Function:
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"} if contract else False}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        return cast(Function, numba.njit(**options)(function))
