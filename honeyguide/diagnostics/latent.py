"""The use that the model makes of its latent space: active dimensions, posterior collapse, correlation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table
from honeyguide.evaluation.dimensions import Dimensions, latent_dimensions
from honeyguide.plotting.latent import correlation_figure, dimensions_figure

NAME, TITLE = "latent", "Latent dimensions"
STRONG_CORRELATION = 0.95
"""Two dimensions that are correlated more strongly than this say the same."""


def section(context: Context) -> Section:
    """Returns what each latent dimension does, before the training and after it."""
    events = context.inspected.events
    rows = (events.inputs.label == 0) & (events.in_split("train") | events.in_split("validation"))
    bad = ~finite_rows(context.inspected.trained)
    trained, initial = (
        _dimensions(seen, rows & ~bad, context.settings.active_variance)
        for seen in (context.inspected.trained, context.inspected.initial)
    )
    warnings = collapse_warnings(trained)
    if bad.any():
        warnings = (f"The latents of {int(bad.sum())} of {len(bad)} events are NaN or infinite.", *warnings)
    num_active, num_dims = int(trained.active.sum()), len(trained.variance)
    text = f"{num_active} of {num_dims} latent dimensions are active ({int(initial.active.sum())} before the training)."
    if trained.kl is not None:
        text += f" The posterior carries {trained.kl.sum():.3g} nats per event about the input, before any flow."
    data = {"num_events": int((rows & ~bad).sum()), "trained": _data(trained), "initial": _data(initial)}
    return Section(NAME, TITLE, text, data, _plots(trained, initial), (_table(trained),), warnings)


def finite_rows(seen: Mapping[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Returns for which events all that describes their place in the latent space is finite."""
    keys = [key for key in ("latent", "mean", "sigma", "start", "latent_draw") if key in seen]
    finite: NDArray[np.bool_] = np.isfinite(np.concatenate([seen[key] for key in keys], axis=1)).all(axis=1)
    return finite


def collapse_warnings(dimensions: Dimensions) -> tuple[str, ...]:
    """Returns whether dimensions have collapsed, or say the same."""
    inactive = np.flatnonzero(~dimensions.active)
    num_dims = len(dimensions.variance)
    warnings = []
    what = "Posterior collapse" if dimensions.kl is not None else "Unused latent space"
    if len(inactive) == num_dims:
        warnings.append(f"{what}: no latent dimension is active, the latents do not depend on the event.")
    elif len(inactive):
        named = ", ".join(str(dimension + 1) for dimension in inactive)
        warnings.append(f"{what}: {len(inactive)} of {num_dims} latent dimensions are not active ({named}).")
    pair = dimensions.most_correlated()
    if pair is not None and abs(pair[2]) > STRONG_CORRELATION:
        warnings.append(
            f"Latent dimensions {pair[0] + 1} and {pair[1] + 1} say the same: their correlation is {pair[2]:.3f}."
        )
    return tuple(warnings)


def _dimensions(seen: Mapping[str, Any], rows: NDArray[np.bool_], active_variance: float) -> Dimensions:
    mean = seen["mean"] if "mean" in seen else seen["latent"]
    sigma = seen["sigma"][rows] if "sigma" in seen else None
    return latent_dimensions(mean[rows], sigma, active_variance=active_variance)


def _data(dimensions: Dimensions) -> dict[str, Any]:
    return {
        "variance": dimensions.variance,
        "threshold": dimensions.threshold,
        "num_active": int(dimensions.active.sum()),
        "active": dimensions.active,
        "kl": dimensions.kl,
        "correlation": dimensions.correlation,
    }


def _plots(trained: Dimensions, initial: Dimensions) -> tuple[Plot, ...]:
    what = "posterior mean" if trained.kl is not None else "latent"
    caption = (
        f"Variance of the {what} over the background events that train and validate, for each latent dimension, "
        "largest first. A dimension above the line is active (arXiv:1509.00519)"
    )
    caption += "." if trained.kl is not None else "; without a posterior the line is relative to the largest."
    variance = dimensions_figure(
        {"trained": trained.variance, "untrained": initial.variance},
        axis=f"variance of the {what}",
        threshold=trained.threshold,
        threshold_label="active above",
    )
    plots = [Plot("latent_variance", "Active latent dimensions", caption, variance)]
    if trained.kl is not None and initial.kl is not None:
        caption = (
            "Mean divergence of the posterior, before any flow, from a unit Gaussian, for each latent dimension. "
            "About 0: the posterior is the prior and says nothing about the event (collapse)."
        )
        figure = dimensions_figure({"trained": trained.kl, "untrained": initial.kl}, axis="mean KL divergence [nat]")
        plots.append(Plot("latent_kl", "KL divergence per dimension", caption, figure))
    caption = f"Pearson's correlation of the {what}s of two dimensions over the same events; grey: does not vary."
    figure = correlation_figure(trained.correlation, title="trained")
    plots.append(Plot("latent_correlation", "Correlation of latent dimensions", caption, figure))
    return tuple(plots)


def _table(dimensions: Dimensions) -> Table:
    columns: dict[str, NDArray[np.float64]] = {"variance": dimensions.variance}
    if dimensions.kl is not None:
        columns["KL [nat]"] = dimensions.kl
    rows = tuple(
        (
            int(dimension) + 1,
            *(float(values[dimension]) for values in columns.values()),
            "yes" if dimensions.active[dimension] else "no",
        )
        for dimension in np.argsort(-dimensions.variance)
    )
    return Table("Latent dimensions after the training", ("dimension", *columns, "active"), rows)
