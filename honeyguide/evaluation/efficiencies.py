"""Efficiencies of jets per truth and bin, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.data.jet_bins import jet_bins
from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import DataError
from honeyguide.evaluation.intervals import efficiency_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Jets:
    """What is known of jets beside their scores.

    Attributes:
        truths: Names of the truth codes.
        truth: Code of each jet, shape (num_jets,); -1 for a jet without truth, which counts nowhere.
        pt: In GeV.
        eta: Pseudorapidity.
        weight: Weights, not negative.
    """

    truths: tuple[str, ...]
    truth: Ints
    pt: Floats
    eta: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Efficiencies:
    """Efficiencies of some selections in some cells, NaN where they are not defined.

    Attributes:
        value: Weighted fraction of the jets of a cell that pass, shape (num_selections, *cells).
        low: Lower end of the interval (Clopper-Pearson with effective counts), same shape.
        high: Upper end.
        effective: Effective number of jets of each cell, (sum w)^2 / sum w^2, shape (*cells,).
        min_jets: Effective jets that a defined efficiency needs.
    """

    value: Floats
    low: Floats
    high: Floats
    effective: Floats
    min_jets: float

    def reason(self, *cell: int) -> str | None:
        """Returns why the efficiencies of a cell are not defined; None where they are."""
        count = float(self.effective[cell])
        if count >= self.min_jets * (1 - 1e-9):
            return None
        return f"{count:.3g} effective jets, {self.min_jets:g} are needed"

    def without(self, selections: Bools) -> Efficiencies:
        """Returns the same with the given selections not defined, shape (num_selections,)."""
        drop = selections.reshape(-1, *(1,) * self.effective.ndim)
        value, low, high = (np.where(drop, np.nan, array) for array in (self.value, self.low, self.high))
        return Efficiencies(value, low, high, self.effective, self.min_jets)

    def to_json(self, selection: int, *cell: int) -> dict[str, Any]:
        """Returns one efficiency as JSON types: null with the reason where it is not defined."""
        effective = float(self.effective[cell])
        value, low, high = (float(array[(selection, *cell)]) for array in (self.value, self.low, self.high))
        if np.isnan(value):
            reason = self.reason(*cell) or "the working point is not defined"
            return {"efficiency": None, "effective_jets": effective, "reason": reason}
        return {"efficiency": value, "low": low, "high": high, "effective_jets": effective}


def make_jets(
    truth: ArrayLike, truths: Sequence[str], pt: ArrayLike, eta: ArrayLike, weight: ArrayLike | None = None
) -> Jets:
    """Returns the jets, checked; without weights every jet counts 1.

    Raises:
        DataError: Arrays differ in length; a truth code has no name; weights are negative or not finite.
    """
    codes = np.asarray(truth, np.int64)
    w = np.ones(codes.shape) if weight is None else np.asarray(weight, np.float64)
    columns = {"pt": np.asarray(pt, np.float64), "eta": np.asarray(eta, np.float64), "weight": w}
    for name, column in columns.items():
        if codes.ndim != 1 or column.shape != codes.shape:
            raise DataError(
                f"{name} and truth of jets must be 1-D and of equal length", got=(column.shape, codes.shape)
            )
    if len(codes) and not (codes.min() >= -1 and codes.max() < len(truths)):
        raise DataError(
            "there are truth codes without a name",
            got=f"{codes.min()} to {codes.max()}",
            allowed=f"-1 (no truth) to {len(truths) - 1} ({', '.join(truths)})",
        )
    if count := int((~np.isfinite(w) | (w < 0)).sum()):
        raise DataError(
            f"{count} of {len(w)} weights of jets are negative or not finite",
            hint="with them efficiencies are not monotonic; evaluate without weights",
        )
    return Jets(tuple(truths), codes, columns["pt"], columns["eta"], w)


def truth_efficiencies(passed: Bools, jets: Jets, *, confidence_level: float, min_jets: float) -> Efficiencies:
    """Returns the efficiencies of every truth over all jets, cells (num_truths,).

    Args:
        passed: Which jets pass each selection, shape (num_selections, num_jets).
        jets: The jets.
        confidence_level: Of the intervals.
        min_jets: Effective jets that a defined efficiency needs.
    """
    shape = (len(jets.truths),)
    return _efficiencies(passed, jets, [], shape, confidence_level=confidence_level, min_jets=min_jets)


def binned_efficiencies(
    passed: Bools, jets: Jets, bins: JetBinning, *, confidence_level: float, min_jets: float
) -> Efficiencies:
    """Returns the efficiencies of every truth in bins of pt and eta, cells (num_truths, num_pt, num_eta).

    Jets outside of the bins are in no cell.
    """
    index = [bin - 1 for bin in jet_bins(bins, jets.pt, jets.eta)]
    shape = (len(jets.truths), len(bins.pt) - 1, len(bins.eta) - 1)
    return _efficiencies(passed, jets, index, shape, confidence_level=confidence_level, min_jets=min_jets)


def _efficiencies(
    passed: Bools, jets: Jets, index: list[Ints], shape: tuple[int, ...], *, confidence_level: float, min_jets: float
) -> Efficiencies:
    inside = (jets.truth >= 0) & (jets.weight > 0)
    for bin, size in zip(index, shape[1:], strict=True):
        inside &= (bin >= 0) & (bin < size)
    cell = np.ravel_multi_index((jets.truth[inside], *(bin[inside] for bin in index)), shape)
    scale = jets.weight.max(initial=0.0) or 1.0  # weights may be as small or large as generators like
    w, size = jets.weight[inside] / scale, int(np.prod(shape))
    total, total2 = np.bincount(cell, w, size), np.bincount(cell, w**2, size)
    empty = total == 0
    safe = np.where(empty, 1, total)
    through = [np.bincount(cell, w * row[inside], size) for row in passed]
    through2 = [np.bincount(cell, w**2 * row[inside], size) for row in passed]
    value = np.reshape(through, (len(passed), size)) / safe
    sumw2 = np.where(empty, 1, total2) / safe**2
    low, high = efficiency_interval(value, np.reshape(through2, value.shape) / safe**2, sumw2, confidence_level)
    effective = np.where(empty, 0, 1 / sumw2)
    undefined = effective < min_jets * (1 - 1e-9)
    value, low, high = (np.where(undefined, np.nan, a).reshape(-1, *shape) for a in (np.clip(value, 0, 1), low, high))
    return Efficiencies(value, low, high, effective.reshape(shape), min_jets)
