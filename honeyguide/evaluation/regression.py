"""How well targets are predicted: bias, resolution, and how often the truth lies below a quantile."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.evaluation.efficiencies import Bools, Floats, Jets
from honeyguide.evaluation.intervals import efficiency_interval
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings

ALL = "all"
_CENTRAL = (0.1586552539, 0.5, 0.8413447461)  # one standard deviation of a Gaussian on either side, and the median


@dataclass(frozen=True)
class Band:
    """Numbers with intervals, shape (num_truths, 1 + num_bins) each: all pt first. NaN where there are too few rows."""

    value: Floats
    low: Floats
    high: Floats

    def to_json(self, truth: int, cell: int) -> dict[str, float | None]:
        """Returns one number and its interval as JSON types."""
        found = {name: float(getattr(self, name)[truth, cell]) for name in ("value", "low", "high")}
        return {name: None if np.isnan(number) else number for name, number in found.items()}


@dataclass(frozen=True)
class RegressionResult:
    """How well one target is predicted.

    Attributes:
        target: Its name.
        unit: Its unit.
        truths: Names of the rows of the bands: all rows together, then each truth that occurs.
        pt: Edges of the bins in pt [GeV].
        effective: Effective number of rows, (sum w)^2 / sum w^2, shape (num_truths, 1 + num_bins).
        bias: Median of the residual, minus 1 for a ratio.
        resolution: Half the width of the central 68 % of the residual.
        coverage: Predicted quantile to the share of rows whose true value is not above it.
        edges: Of the distributions of the residual.
        density: Share of the rows per bin of the residual, shape (num_truths, num_residual_bins).
    """

    target: str
    unit: str
    truths: tuple[str, ...]
    pt: Floats
    effective: Floats
    bias: Band
    resolution: Band
    coverage: dict[float, Band]
    edges: Floats
    density: Floats

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the distributions as JSON types."""
        cells = range(self.effective.shape[1])
        bands = {"bias": self.bias, "resolution": self.resolution}
        bands |= {f"coverage_{level:g}": band for level, band in self.coverage.items()}
        found = {}
        for number, truth in enumerate(self.truths):
            found[truth] = [
                {"pt": None if cell == 0 else self.pt[cell - 1 : cell + 1].tolist()}
                | {"effective": float(self.effective[number, cell])}
                | {name: band.to_json(number, cell) for name, band in bands.items()}
                for cell in cells
            ]
        return {"target": self.target, "unit": self.unit, "truths": found}


def evaluate_regression(
    true: ArrayLike,
    predicted: ArrayLike,
    jets: Jets,
    *,
    quantiles: Mapping[float, NDArray[Any]],
    name: tuple[str, str],
    settings: RegressionEvaluationSettings,
) -> RegressionResult:
    """Returns bias, resolution and coverage of all rows and of each truth, over all pt and in bins of it.

    Args:
        true: True values, shape (num_jets,).
        predicted: Predicted ones, same shape.
        jets: Truth, pt and weight.
        quantiles: Predicted quantiles by their level, shape (num_jets,) each.
        name: The target and its unit.
        settings: Bins, kind of residual, intervals.
    """
    values = np.asarray(true, np.float64)
    ratio = settings.residual == "ratio"
    residual = np.asarray(predicted, np.float64) / values - 1 if ratio else np.asarray(predicted, np.float64) - values
    truths, rows = _rows_of(jets)
    edges = np.asarray(settings.pt, np.float64)
    bins = [(jets.pt >= low) & (jets.pt < high) for low, high in itertools.pairwise(edges)]
    places = [[np.flatnonzero(row & cell & (jets.weight > 0)) for cell in (True, *bins)] for row in rows]
    effective = np.array([[_effective(jets.weight[place]) for place in line] for line in places])
    spread = np.full((*effective.shape, 2, 3), np.nan)
    enough = effective >= settings.min_jets
    for row, cell in np.argwhere(enough):
        place, rng = places[row][cell], np.random.default_rng([settings.bootstrap_seed, row, cell])
        spread[row, cell] = _spread(residual[place], jets.weight[place], rng, settings)
    bias, resolution = (Band(*np.moveaxis(spread[:, :, number], -1, 0)) for number in range(2))
    coverage = {
        level: _coverage(values <= quantile, places, jets.weight, enough=enough, level=settings.confidence_level)
        for level, quantile in quantiles.items()
    }
    histogram_edges, density = _density(residual, [line[0] for line in places], jets.weight, settings.residual_bins)
    return RegressionResult(
        *name, truths, edges, effective, bias, resolution, coverage, histogram_edges, density
    )  # fmt: skip


def _rows_of(jets: Jets) -> tuple[tuple[str, ...], list[Bools]]:
    occurring = [code for code in range(len(jets.truths)) if (jets.truth == code).any()]
    names = (ALL, *(jets.truths[code] for code in occurring))
    return names, [np.ones(len(jets), bool), *(jets.truth == code for code in occurring)]


def _effective(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def _spread(
    residual: Floats, weights: Floats, rng: np.random.Generator, settings: RegressionEvaluationSettings
) -> Floats:
    """Returns value, low, high of median and of half the central width, shape (2, 3)."""
    order = np.argsort(residual)
    ordered, w = residual[order], weights[order]
    replicas = np.array(
        [_median_and_width(ordered, w * rng.poisson(1.0, len(w))) for _ in range(settings.num_replicas)]
    )
    tail = (1 - settings.confidence_level) / 2
    low, high = np.nanquantile(replicas, [tail, 1 - tail], axis=0)
    return np.stack([_median_and_width(ordered, w), low, high], axis=1)


def _median_and_width(ordered: Floats, weights: Floats) -> Floats:
    """Returns the weighted median and half the central width of values in ascending order; NaN without weight."""
    middle = np.cumsum(weights) - weights / 2
    total = weights.sum()
    if total == 0:
        return np.full(2, np.nan)
    low, median, high = np.interp(_CENTRAL, middle / total, ordered)
    return np.array([median, (high - low) / 2])


def _coverage(below: Bools, places: list[list[NDArray[Any]]], weights: Floats, *, enough: Bools, level: float) -> Band:
    found = np.full((*enough.shape, 3), np.nan)
    for row, cell in np.argwhere(enough):
        place = places[row][cell]
        w = weights[place] / weights[place].sum()
        passed = w[below[place]]
        low, high = efficiency_interval(passed.sum(), (passed**2).sum(), (w**2).sum(), level)
        found[row, cell] = (passed.sum(), float(low), float(high))
    return Band(*np.moveaxis(found, -1, 0))


def _density(residual: Floats, places: list[NDArray[Any]], weights: Floats, bins: int) -> tuple[Floats, Floats]:
    """Returns edges around the central part of all rows, and each truth's share of rows per bin."""
    finite = residual[np.isfinite(residual)]
    half = float(np.abs(np.quantile(finite, [0.005, 0.995])).max()) if len(finite) else 0.0
    edges = np.linspace(-(half or 1.0), half or 1.0, bins + 1)
    counts = [
        np.histogram(residual[place], edges, weights=weights[place])[0] / weights[place].sum() for place in places
    ]
    return edges, np.array(counts)
