"""The latent space seen from above: two-dimensional maps of it, before the training and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.inspected import Events
from honeyguide.diagnostics.latent import finite_rows
from honeyguide.diagnostics.section import Plot, Section, not_made
from honeyguide.evaluation.projection import Projected, project, spread_evenly
from honeyguide.plotting.latent import points_figure
from honeyguide.plotting.style import signal_label

NAME, TITLE = "projections", "Latent projections"
WORDS = {
    "latent": "latents",
    "mean": "posterior means",
    "start": "draws before the flow",
    "latent_draw": "draws after the flow",
}
SPLIT_WORDS = {"train": "training events", "test": "test events"}
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """One representation of the events.

    Attributes:
        weights: ``trained`` or ``initial``.
        words: What it is called.
        key: What it is, a key of ``Model.inspect``.
        values: (num_events, latent).
    """

    weights: str
    key: str
    words: str
    values: NDArray[np.float32]


def section(context: Context) -> Section:
    """Returns maps of all representations, coloured by generator (training events) and by process (test events).

    Events with a truth are coloured by that.
    """
    inspected, settings = context.inspected, context.settings
    if inspected.trained["latent"].shape[1] < 2:
        return not_made(NAME, TITLE, "the latent space has one dimension.")
    finite = finite_rows(inspected.trained) & finite_rows(inspected.initial)
    groups = {name: rows & finite for name, rows in split_groups(inspected.events).items()}
    chosen = spread_evenly(groups, settings.projection_events, np.random.default_rng(settings.seed))
    if len(chosen) < 10:
        return not_made(NAME, TITLE, "there are fewer than 10 events with finite latents.")
    views = list(distinct_views(inspected.trained, inspected.initial))
    plots: list[Plot] = []
    for method in settings.projections:
        for view in views:
            projected = project(view.values[chosen], method, seed=settings.seed)
            plots += _plots(context, view, method, projected, chosen)
    text = (
        f"{len(chosen):,} events, as many of every group, in maps of {len(views)} representations "
        f"({', '.join(METHODS[method] for method in settings.projections)}). Training and test events are in one map "
        "and drawn apart."
    )
    data = {
        "num_events": len(chosen),
        "methods": list(settings.projections),
        "views": [{"weights": view.weights, "key": view.key} for view in views],
        "groups": {name: int(rows[chosen].sum()) for name, rows in groups.items()},
    }
    return Section(NAME, TITLE, text, data, tuple(plots))


def split_groups(events: Events) -> dict[str, Bools]:
    """Returns the groups that are drawn evenly: every generator's training and test events, every signal point.

    Of events with a truth, those of every truth.
    """
    groups: dict[str, Bools] = {}
    for split in ("train", "test"):
        rows = events.in_split(split)
        groups |= {f"{split} {name}": rows & of_group for name, of_group in events.groups().items()}
    if events.grouping == "generator":
        groups |= {f"test {name}": rows & events.in_split("test") for name, rows in events.signals().items()}
    return {name: rows for name, rows in groups.items() if rows.any()}


def distinct_views(
    trained: Mapping[str, NDArray[np.float32]], initial: Mapping[str, NDArray[np.float32]]
) -> Iterator[View]:
    """Yields every representation of the trained model that is unlike those before, then one of the untrained."""
    keys = [key for key in ("start", "latent_draw", "mean") if key in trained] if "sigma" in trained else ["latent"]
    words = dict(WORDS)
    if "start" in keys and np.array_equal(trained["start"], trained["latent_draw"]):  # nothing lies between them
        keys.remove("start")
        words["latent_draw"] = "draws from the posterior"
    for key in keys:
        yield View("trained", key, words[key], trained[key])
    key = "latent_draw" if "latent_draw" in keys else keys[-1]
    yield View("initial", key, words[key], initial[key])


def _plots(
    context: Context, view: View, method: str, projected: Projected, chosen: NDArray[np.int64]
) -> Iterator[Plot]:
    events = context.inspected.events
    colourings = {
        "train": (events.grouping, events.groups()),
        "test": ("process", events.processes() | events.signals()),
    }
    if events.grouping == "truth":
        colourings["test"] = colourings["train"]
    trained = "untrained" if view.weights == "initial" else "trained"
    for split, (colouring, groups) in colourings.items():
        rows = {name: (of_group & events.in_split(split))[chosen] for name, of_group in groups.items()}
        rows = {name: of_group for name, of_group in rows.items() if of_group.any()}
        if not rows:
            continue
        figure = points_figure(
            projected.points,
            rows,
            axes=projected.axes,
            colours=context.colours,
            labels={name: signal_label(name) for name in rows},
            title=f"{trained} network, {SPLIT_WORDS[split]}",
        )
        title = f"{METHODS[method]} of the {view.words}, {trained}, {SPLIT_WORDS[split]} by {colouring}"
        caption = f"{METHODS[method]} of the {view.words} of the {trained} network; one point is "
        caption += f"one event. Pale: the events of the map that are not {SPLIT_WORDS[split]}."
        name = f"projection_{method}_{view.weights}_{view.key}_{split}"
        yield Plot(name, title, caption, figure)
