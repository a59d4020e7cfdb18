"""How uncertain the posterior is: histograms of its standard deviation."""

from __future__ import annotations

from typing import Any

import numpy as np

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Cell, Plot, Section, Table, not_made
from honeyguide.plotting.drift import histogram_figure
from honeyguide.plotting.style import signal_label

NAME, TITLE = "sigma", "Uncertainty of the posterior"
SPLIT_WORDS = {"train": "training events", "test": "test events"}


def section(context: Context) -> Section:
    """Returns the mean standard deviation of the posterior of every event, by generator and signal point."""
    events, seen = context.inspected.events, context.inspected.trained
    if "sigma" not in seen:
        return not_made(NAME, TITLE, "this model has no posterior, so there is no sigma to look at.")
    sigma = seen["sigma"].astype(np.float64).mean(axis=1)
    groups = events.generators() | events.signals()
    plots: list[Plot] = []
    rows: list[tuple[Cell, ...]] = []
    data: dict[str, Any] = {}
    for split in ("train", "test"):
        in_split = {name: sigma[of_group & events.in_split(split)] for name, of_group in groups.items()}
        values = {name: found[np.isfinite(found)] for name, found in in_split.items()}
        values = {name: found for name, found in values.items() if len(found)}
        if not values:
            continue
        data[split] = {
            name: {"mean": found.mean(), "standard_deviation": found.std(), "num_events": len(found)}
            for name, found in values.items()
        }
        rows += [(split, name, len(found), float(found.mean()), float(found.std())) for name, found in values.items()]
        figure = histogram_figure(
            values,
            axis=r"mean posterior $\sigma$ over the latent dimensions",
            colours=context.colours,
            dashed=list(events.signals()),
            labels={name: signal_label(name) for name in values},
            title=SPLIT_WORDS[split],
        )
        caption = (
            "Standard deviation of the posterior before any flow, averaged over the latent dimensions of each event. "
            "1 is that of the prior."
        )
        plots.append(Plot(f"sigma_{split}", f"Posterior sigma, {SPLIT_WORDS[split]}", caption, figure))
    table = Table(
        "Posterior sigma, averaged over dimensions",
        ("split", "group", "events", "mean", "standard deviation"),
        tuple(rows),
    )
    text = "How sure the encoder is of where an event lies; events unlike those that trained may be less certain."
    return Section(NAME, TITLE, text, data, tuple(plots), (table,))
