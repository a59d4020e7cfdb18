"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Callable

from honeyguide.diagnostics import training
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Section

SECTIONS: tuple[Callable[[Context], Section], ...] = (training.section,)
