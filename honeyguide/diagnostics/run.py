"""All sections, on one page and in one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from honeyguide.diagnostics.context import make_context
from honeyguide.diagnostics.page import render
from honeyguide.diagnostics.section import Section
from honeyguide.diagnostics.sections import SECTIONS
from honeyguide.diagnostics.settings import DiagnosticsSettings
from honeyguide.diagnostics.sources import Sources
from honeyguide.plotting.style import compact_png, save
from honeyguide.training.device import resolve_device, torch_state
from honeyguide.training.weights import BuildModel


def diagnose(
    sources: Sources,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: DiagnosticsSettings,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Section, ...]:
    """Returns all sections, after writing ``index.html``, ``diagnostics.json`` and the figures in ``plots/``.

    Args:
        sources: The files of the training.
        folder: Existing folder to write to.
        build_model: Makes an untrained model of the trained family and config from an input specification.
        settings: What to look at.
        progress: Called with the number of sections that are done and the number of all.

    Raises:
        StoreError: A file is missing or damaged.
        ModelError: ``build_model`` makes another model than the one that was trained.
        ConfigError: A package that a setting asks for is not installed.
    """
    device = resolve_device(settings.device)
    sections: list[Section] = []
    with torch_state(device=device, num_threads=settings.num_threads, seed=settings.seed):
        context = make_context(sources, build_model=build_model, settings=settings, device=device)
        for done, make in enumerate(SECTIONS, start=1):
            sections.append(make(context))
            if progress is not None:
                progress(done, len(SECTIONS))
    write_report(sections, folder, label=sources.label)
    return tuple(sections)


def write_report(sections: Sequence[Section], folder: Path, *, label: str) -> None:
    """Writes figures, numbers and page of the sections."""
    plots = folder / "plots"
    plots.mkdir()
    images: dict[str, bytes] = {}
    for plot in (plot for section in sections for plot in section.plots):
        assert plot.name not in images, f"two plots are called {plot.name}"
        save(plot.figure, plots, plot.name)
        images[plot.name] = compact_png((plots / f"{plot.name}.png").read_bytes())
    for name, content in (item for section in sections for item in section.files.items()):
        (folder / name).write_bytes(content)
    (folder / "diagnostics.json").write_text(json.dumps(_content(sections, label), indent=1, allow_nan=False))
    (folder / "index.html").write_text(render(sections, images, label=label), encoding="utf-8")


def _content(sections: Sequence[Section], label: str) -> dict[str, Any]:
    return {
        "label": label,
        "sections": {
            section.name: {
                "title": section.title,
                "text": section.text,
                "warnings": list(section.warnings),
                "data": _plain(section.data),
                "plots": [plot.name for plot in section.plots],
            }
            for section in sections
        },
    }


def _plain(value: Any) -> Any:
    """Returns JSON types; a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
