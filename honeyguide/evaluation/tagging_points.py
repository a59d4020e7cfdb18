"""Working points of taggers: exact thresholds of one or two discriminators, and what passes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.discriminators import Discriminator, truth_codes
from honeyguide.evaluation.efficiencies import (
    Bools,
    Efficiencies,
    Floats,
    Jets,
    binned_efficiencies,
    truth_efficiencies,
)
from honeyguide.evaluation.result import number
from honeyguide.evaluation.roc import roc_curve, two_classes
from honeyguide.evaluation.tagging_settings import PlanePoint, TaggingSettings, WorkingPointSettings
from honeyguide.evaluation.working_points import working_points
from honeyguide.io.compiled import compiled


@dataclass(frozen=True)
class TaggingPoint:
    """A working point: a jet passes if every discriminator is >= its threshold.

    Attributes:
        name: Its name.
        reason: Why it is not defined; None where it is. The thresholds mean nothing where it is not.
        thresholds: One per discriminator; they are values of jets, so equal values are all in or all out.
        targets: Highest mis-identification efficiencies that were asked for, one per discriminator.
        mistag: What they are at these thresholds: not above the targets.
        counts: Effective number of mis-identified jets, one per discriminator.
    """

    name: str
    reason: str | None
    thresholds: tuple[float, ...]
    targets: tuple[float, ...]
    mistag: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True)
class TaggingPoints:
    """The working points of one discriminator or of a pair, with the efficiencies of every truth at each of them.

    Attributes:
        discriminators: One name or two.
        mistagged: Truths whose mis-identification each discriminator's target limits.
        points: The working points.
        truths: Names of the truths.
        bins: Of ``binned``.
        inclusive: Efficiencies over all jets, cells (num_truths,); not defined where the point is not.
        binned: In bins of pt and eta, cells (num_truths, num_pt, num_eta).
        by_pt: In bins of pt, of jets inside the edges of eta, cells (num_truths, num_pt, 1).
        by_eta: In bins of eta, of jets inside the edges of pt, cells (num_truths, 1, num_eta).
    """

    discriminators: tuple[str, ...]
    mistagged: tuple[tuple[str, ...], ...]
    points: tuple[TaggingPoint, ...]
    truths: tuple[str, ...]
    bins: JetBinning
    inclusive: Efficiencies
    binned: Efficiencies
    by_pt: Efficiencies
    by_eta: Efficiencies

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types; what is not defined is null, with the reason."""
        return {
            "discriminators": list(self.discriminators),
            "mistagged": [list(truths) for truths in self.mistagged],
            "bins": {"pt": list(self.bins.pt), "abs_eta" if self.bins.absolute_eta else "eta": list(self.bins.eta)},
            "working_points": {point.name: self._point(index) for index, point in enumerate(self.points)},
        }

    def _point(self, index: int) -> dict[str, Any]:
        point = self.points[index]
        numbers = {"targets": list(point.targets), "mistag": [number(v) for v in point.mistag]}
        numbers |= {"mistagged_jets": [number(v) for v in point.counts]}
        if point.reason is not None:
            return {"thresholds": None, "reason": point.reason, **numbers}
        return {
            "thresholds": [number(value) for value in point.thresholds],
            **numbers,
            "efficiencies": {name: self._truth(index, code) for code, name in enumerate(self.truths)},
        }

    def _truth(self, index: int, code: int) -> dict[str, Any]:
        pt, eta = range(len(self.bins.pt) - 1), range(len(self.bins.eta) - 1)
        return {
            "inclusive": self.inclusive.to_json(index, code),
            "by_pt": [self.by_pt.to_json(index, code, i, 0) for i in pt],
            "by_eta": [self.by_eta.to_json(index, code, 0, j) for j in eta],
            "by_pt_and_eta": [[self.binned.to_json(index, code, i, j) for j in eta] for i in pt],
        }


def passing(values: Sequence[Floats], points: Sequence[TaggingPoint]) -> Bools:
    """Returns which jets pass each working point, shape (num_points, num_jets).

    Args:
        values: The discriminators of the working points, each of shape (num_jets,).
        points: The working points.
    """
    shape = (len(points), len(values[0]))
    rows = [[v >= t for v, t in zip(values, point.thresholds, strict=True)] for point in points]
    return np.array([np.all(row, axis=0) for row in rows], bool).reshape(shape)


def tagging_points(
    values: Floats,
    jets: Jets,
    *,
    discriminator: Discriminator,
    points: WorkingPointSettings,
    settings: TaggingSettings,
) -> TaggingPoints:
    """Returns the working points of one discriminator.

    Each has the lowest threshold whose mis-identification efficiency does not exceed the target, among the values of
    the signal and of the mis-identified jets: the weighted quantile, without a grid. Jets of equal value pass together,
    so with ties the mis-identification is below the target, and no threshold gives the signal a higher efficiency.

    Args:
        values: The discriminator of each jet, shape (num_jets,).
        jets: The jets.
        discriminator: Which truths are signal.
        points: The mis-identified truth, and the targets.
        settings: Groups, bins, confidence level and the jets that a defined number needs.

    Raises:
        ConfigError: The mis-identified truth does not exist, or is signal.
        DataError: There are no such jets or no signal; values are NaN.
    """
    where = f"tagging.working_points.{discriminator.name}.mistag"
    mistag = truth_codes(points.mistag, settings, jets.truths, where=where)
    if set(mistag) & set(discriminator.signal):
        raise ConfigError(
            f"'{points.mistag}' is signal of {discriminator.name}: its efficiency is no mis-identification",
            where=where,
        )
    signal, background = np.isin(jets.truth, discriminator.signal), np.isin(jets.truth, mistag)
    classes = two_classes(values[signal], values[background], jets.weight[signal], jets.weight[background])
    found = working_points(
        roc_curve(classes),
        tuple(points.points.values()),
        confidence_level=settings.confidence_level,
        min_background_events=settings.min_jets,
    )
    made = [
        TaggingPoint(name, p.reason, (p.threshold,), (p.target,), (p.background_efficiency,), (p.background_count,))
        for name, p in zip(points.points, found, strict=True)
    ]
    return _with_efficiencies([values], jets, (discriminator.name,), (mistag,), made, settings)


def plane_points(
    values: tuple[Floats, Floats], jets: Jets, *, pair: tuple[Discriminator, Discriminator], settings: TaggingSettings
) -> TaggingPoints:
    """Returns the working points in the plane of two discriminators, such as CvsL and CvsB for c-tagging.

    A jet passes if both are >= their thresholds. Of all pairs of thresholds for which the backgrounds of both
    discriminators (light and b jets) have mis-identification efficiencies that do not exceed the targets, a working
    point is one with the highest efficiency of the signal, exact on the given jets. Algorithm: the first threshold goes
    down through all values. What passes it can only grow, so for the targets to be kept the second threshold can only
    go up; each jet enters once and leaves at most once, so a sort is all that it costs. Of equally efficient pairs the
    one with the highest first threshold is taken, and then both are raised to the lowest values of the signal that
    passes, which loses no signal. The efficiency of the signal is chosen as the highest on these jets, so it is biased
    upwards by a fraction of its error; mis-identification is as on these jets.

    Args:
        values: The two discriminators of each jet, each of shape (num_jets,).
        jets: The jets.
        pair: The two discriminators, of one signal.
        settings: Targets, bins, confidence level and the jets that a defined number needs.

    Raises:
        ConfigError: The two discriminators have different signals.
        DataError: There is no signal or no background of one; values are NaN.
    """
    if pair[0].signal != pair[1].signal:
        raise ConfigError(f"{pair[0].name} and {pair[1].name} have different signals", where="plane")
    weights = np.stack([_shares(pair[0].signal, jets, "signal")] + [_shares(p.background, jets, p.name) for p in pair])
    missing = np.isnan(values[0]) | np.isnan(values[1])
    if count := int((missing & (weights.sum(0) > 0)).sum()):
        raise DataError(f"{count} jets have a discriminator that is NaN", where=f"{pair[0].name}, {pair[1].name}")
    points = [
        _plane_point(name, goal, values, weights, settings.min_jets) for name, goal in settings.plane_points.items()
    ]
    backgrounds = (pair[0].background, pair[1].background)
    return _with_efficiencies(values, jets, (pair[0].name, pair[1].name), backgrounds, points, settings)


def _shares(truth: tuple[int, ...], jets: Jets, what: str) -> Floats:
    """Returns the weights of the jets of some truths with sum 1; 0 for all others."""
    weight = np.where(np.isin(jets.truth, truth), jets.weight, 0.0)
    if not weight.any():
        names = ", ".join(jets.truths[code] for code in truth)
        raise DataError(f"there are no jets of {names} with a weight above 0", where=what)
    weight = weight / weight.max()
    return np.asarray(weight / weight.sum())


def _plane_point(
    name: str, goal: PlanePoint, values: tuple[Floats, Floats], weights: Floats, min_jets: float
) -> TaggingPoint:
    targets = (goal.first, goal.second)
    used = weights.any(0)
    first, second, w = values[0][used], values[1][used], weights[:, used]
    order = np.argsort(-first, kind="stable")
    group = np.unique(first, return_inverse=True)[1]
    levels, rank = np.unique(second, return_inverse=True)
    limits = np.array(targets) * (1 + 1e-9)  # a sum of weights carries rounding
    at, floor = _best_corner(group[order], rank[order], np.ascontiguousarray(w[:, order]), limits, len(levels))
    inside = (group >= at) & (rank >= floor) if at >= 0 else np.zeros(len(group), bool)
    signal = inside & (w[0] > 0)
    if not signal.any():
        return TaggingPoint(name, "no signal passes within the targets", (np.inf,) * 2, targets, (0.0,) * 2, (0.0,) * 2)
    thresholds = (float(first[signal].min()), float(second[signal].min()))
    passed = w[1:, (first >= thresholds[0]) & (second >= thresholds[1])]
    mistag, sumw2 = passed.sum(1), (passed**2).sum(1)
    counts = np.divide(mistag**2, sumw2, out=np.zeros(2), where=sumw2 > 0)
    few = counts.min() < min_jets * (1 - 1e-9)
    reason = f"{counts.min():.3g} effective background jets pass, {min_jets:g} are needed" if few else None
    return TaggingPoint(name, reason, thresholds, targets, tuple(mistag.tolist()), tuple(counts.tolist()))


@compiled
def _best_corner(
    group: NDArray[np.int64], rank: NDArray[np.int64], weights: Floats, limits: Floats, num_ranks: int
) -> tuple[int, int]:
    """Returns the lowest group and rank that pass at the highest signal efficiency, (-1, 0) where no signal passes.

    Jets are in descending order of group; rows of weights are the signal and the two backgrounds.
    """
    held = np.zeros((3, num_ranks))
    sums = np.zeros(3)
    floor, best, best_group, best_floor = 0, 1e-12, -1, 0
    jet = 0
    while jet < len(group):
        current = group[jet]
        while jet < len(group) and group[jet] == current:
            if rank[jet] >= floor:
                for row in range(3):
                    held[row, rank[jet]] += weights[row, jet]
                    sums[row] += weights[row, jet]
            jet += 1
        while floor < num_ranks and (sums[1] > limits[0] or sums[2] > limits[1]):
            for row in range(3):
                sums[row] -= held[row, floor]
            floor += 1
        if sums[0] > best + 1e-12:  # more than rounding
            best, best_group, best_floor = sums[0], current, floor
    return best_group, best_floor


def _with_efficiencies(
    values: Sequence[Floats],
    jets: Jets,
    discriminators: tuple[str, ...],
    mistagged: Sequence[tuple[int, ...]],
    points: Sequence[TaggingPoint],
    settings: TaggingSettings,
) -> TaggingPoints:
    passed = passing(values, points)
    undefined = np.array([point.reason is not None for point in points], bool)
    level, need = settings.confidence_level, settings.min_jets
    inclusive = truth_efficiencies(passed, jets, confidence_level=level, min_jets=need)
    bins = settings.bins
    one_eta = bins.model_copy(update={"eta": (bins.eta[0], bins.eta[-1])})
    one_pt = bins.model_copy(update={"pt": (bins.pt[0], bins.pt[-1])})
    binned, by_pt, by_eta = (
        binned_efficiencies(passed, jets, each, confidence_level=level, min_jets=need).without(undefined)
        for each in (bins, one_eta, one_pt)
    )
    return TaggingPoints(
        discriminators=discriminators,
        mistagged=tuple(tuple(jets.truths[code] for code in codes) for codes in mistagged),
        points=tuple(points),
        truths=jets.truths,
        bins=bins,
        inclusive=inclusive.without(undefined),
        binned=binned,
        by_pt=by_pt,
        by_eta=by_eta,
    )
