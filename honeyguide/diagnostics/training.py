"""How the training went: every term, learning rate, gradient norm, weight and rate, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table
from honeyguide.plotting.style import slug
from honeyguide.plotting.training import epochs_figure

NAME, TITLE = "training", "Training"
OVERTRAINED = 0.05
"""Share of the fall of the training loss by which the validation loss has to have risen since its best epoch."""


def section(context: Context) -> Section:
    """Returns the curves of the training."""
    metrics = context.metrics
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    terms = list(epochs[0]["train"])
    plots = [_term_plot(epochs, term, best) for term in sorted(terms, key=lambda term: term != "total")]
    plots += [
        _plot("learning_rate", {"learning rate": column(epochs, "learning_rate")}, "learning rate", best),
        _plot("gradient_norm", {"gradient norm": column(epochs, "gradient_norm")}, "mean norm of the gradient", best),
        _plot("weights", _weights(epochs), "weight in the loss", best),
        _plot("rate", {"training": column(epochs, "events_per_second")}, "training events per second [1/s]", best),
    ]
    told = "early stopping ended it" if metrics["stopped_early"] else "it went on to the last epoch"
    text = (
        f"{len(epochs)} epochs, {told}; the best weights are those of epoch {best + 1} "
        f"(lowest total of the {metrics['monitored']} events)."
    )
    if best == len(epochs) - 1 and not metrics["stopped_early"]:
        text += " The last epoch is the best one: a longer training (training.epochs) may find a lower loss."
    data = {key: metrics[key] for key in ("best_epoch", "stopped_early", "monitored")} | {"epochs": epochs}
    return Section(NAME, TITLE, text, data, tuple(plots), (_table(epochs, best),), warnings(metrics))


def warnings(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what is wrong with a training: numbers that are not finite, or over-training."""
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    found = []
    bad = [record["epoch"] + 1 for record in epochs if not _finite(record)]
    if bad:
        found.append(f"Terms are NaN or infinite in {len(bad)} of {len(epochs)} epochs, first in epoch {bad[0]}.")
        return tuple(found)
    fall = epochs[0]["train"]["total"] - epochs[-1]["train"]["total"]
    if metrics["monitored"] == "validation":
        rise = epochs[-1]["validation"]["total"] - epochs[best]["validation"]["total"]
        fallen_since = epochs[best]["train"]["total"] - epochs[-1]["train"]["total"]
        if fall > 0 and rise > OVERTRAINED * fall and fallen_since > 0:
            found.append(
                f"Over-training: since epoch {best + 1} the validation total has risen by {rise:.3g} while that of the "
                f"training events fell by {fallen_since:.3g}. The best weights are used; more data, dropout or a "
                "smaller model would help."
            )
    return tuple(found)


def column(epochs: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """Returns one number per epoch."""
    return [record[name] for record in epochs]


def _finite(record: Mapping[str, Any]) -> bool:
    values = [*record["train"].values(), *(record["validation"] or {}).values()]
    return bool(np.all(np.isfinite(np.array(values, dtype=float))))


def _term_plot(epochs: Sequence[Mapping[str, Any]], term: str, best: int) -> Plot:
    lines: dict[str, list[float | None]] = {"training": [record["train"][term] for record in epochs]}
    if epochs[0]["validation"] is not None:
        lines["validation"] = [record["validation"][term] for record in epochs]
    figure = epochs_figure(lines, axis=f"{term} (mean per event)", best_epoch=best)
    what = "The weighted sum of all terms" if term == "total" else f"The term {term}, before its weight,"
    caption = f"{what} averaged over the events of each epoch. The dotted line is the epoch whose weights are used."
    return Plot(slug("training", term), f"{term[0].upper()}{term[1:]} per epoch", caption, figure)


def _plot(name: str, lines: Mapping[str, Sequence[float | None]], axis: str, best: int) -> Plot:
    captions = {
        "learning_rate": "What the schedule made of the learning rate.",
        "gradient_norm": "Norm of the gradient before clipping, averaged over the steps of the epoch.",
        "weights": "What each term was multiplied with in the loss of the training events; annealing changes it.",
        "rate": "Training events per second, validation not counted.",
    }
    figure = epochs_figure(lines, axis=axis, best_epoch=best)
    return Plot(f"training_{name}", f"{axis[0].upper()}{axis[1:]}", captions[name], figure)


def _weights(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    return {term: [record["weights"][term] for record in epochs] for term in epochs[0]["weights"]}


def _table(epochs: Sequence[Mapping[str, Any]], best: int) -> Table:
    shown = {"first": epochs[0], "best": epochs[best], "last": epochs[-1]}
    kinds = ("train", "validation")
    rows = []
    for term in epochs[0]["train"]:
        row: list[str | float | int | None] = [term]
        row += [(record[kind] or {}).get(term) for kind in kinds for record in shown.values()]
        rows.append(tuple(row))
    columns = ("term", *(f"{kind}, {name}" for kind in kinds for name in shown))
    return Table("Terms in the first, the best and the last epoch", columns, tuple(rows))
