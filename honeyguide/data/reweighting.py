"""Reweighting of jets in pt and eta: every truth gets the spectrum of a reference truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.data.jet_bins import jet_bins
from honeyguide.data.reweighting_settings import JetBinning, ReweightingSettings
from honeyguide.data.splits import uniform
from honeyguide.errors import ConfigError, DataError, nearest_name

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SAMPLING = 0x7A66_0000_0000_0000  # so that no seed gives the hash that splits the events
_DRAWS = 1 << 32


@dataclass(frozen=True)
class JetBlock:
    """Some jets, all arrays of shape (num_jets,).

    Attributes:
        truth: Codes of the truths.
        pt: In GeV.
        eta: Pseudorapidity.
        weight: None: every jet counts 1.
    """

    truth: ArrayLike
    pt: ArrayLike
    eta: ArrayLike
    weight: ArrayLike | None = None


@dataclass(frozen=True)
class Spectra:
    """Histograms of all truths in pt and eta, with under- and overflow as the first and last bins.

    Attributes:
        truths: Names of the truths.
        bins: In pt and eta.
        sumw: Sums of weights, shape (num_truths, num_pt + 2, num_eta + 2).
        sumw2: Sums of squared weights, same shape.
        clip: Under- and overflow count in the nearest bin.
    """

    truths: tuple[str, ...]
    bins: JetBinning
    sumw: Floats
    sumw2: Floats
    clip: bool

    @property
    def inside(self) -> Floats:
        """Sums of weights in the bins, shape (num_truths, num_pt, num_eta)."""
        return self._counted(self.sumw)

    @property
    def inside2(self) -> Floats:
        """Sums of squared weights in the bins, same shape."""
        return self._counted(self.sumw2)

    @property
    def outside(self) -> Floats:
        """Sums of weights of the jets outside of the bins, whether they are clipped or not, shape (num_truths,)."""
        return np.asarray(np.where(_flow(self.bins), self.sumw, 0).sum((1, 2)))

    def _counted(self, sums: Floats) -> Floats:
        if not self.clip:
            return sums[:, 1:-1, 1:-1]
        pt, eta = (np.arange(size).clip(1, size - 2) - 1 for size in sums.shape[1:])
        result = np.zeros((len(sums), sums.shape[1] - 2, sums.shape[2] - 2))
        np.add.at(result, np.ix_(np.arange(len(sums)), pt, eta), sums)
        return result


@dataclass(frozen=True)
class Reweighting:
    """What the weight of a jet is multiplied with, by truth and bin.

    Attributes:
        settings: Reference, bins, normalisation, and what becomes of jets outside of the bins.
        before: The spectra that it was made from.
        factors: Shape (num_truths, num_pt + 2, num_eta + 2), with under- and overflow.
        unreached: Fraction of the reference's spectrum in bins where a truth has no jets, shape (num_truths,): there
            no weight helps, and the truth's spectrum lacks this part of the reference's.
    """

    settings: ReweightingSettings
    before: Spectra
    factors: Floats
    unreached: Floats

    @property
    def after(self) -> Spectra:
        """The spectra with the weights: sums over the same jets, exact."""
        sumw, sumw2 = self.before.sumw * self.factors, self.before.sumw2 * self.factors**2
        return replace(self.before, sumw=sumw, sumw2=sumw2)

    @property
    def keep_probabilities(self) -> Floats:
        """The factors scaled so that none is above 1, same shape.

        With ``normalise: truth`` each truth is scaled by its own largest factor, which keeps as many jets of each as
        its spectrum allows; with ``reference`` all by the largest of all, which keeps truths balanced. Jets outside of
        the bins that have weight 1 are kept for certain.
        """
        inner = self.factors[:, 1:-1, 1:-1]
        axes = (1, 2) if self.settings.normalise == "truth" else (0, 1, 2)
        result = self.factors / inner.max(axes, keepdims=True)
        if self.settings.outside == "one":
            result = np.where(_flow(self.before.bins), 1.0, result)
        return np.asarray(result)

    @property
    def kept_shares(self) -> dict[str, float]:
        """The share of each truth's jets, by weight, that sampling keeps on average; only of truths that have jets."""
        kept, all_jets = self.sampled.sumw.sum((1, 2)), self.before.sumw.sum((1, 2))
        pairs = zip(self.before.truths, kept, all_jets, strict=True)
        return {name: float(part / whole) for name, part, whole in pairs if whole > 0}

    @property
    def sampled(self) -> Spectra:
        """The spectra that sampling by the keep-probabilities gives on average."""
        kept = self.keep_probabilities
        return replace(self.before, sumw=self.before.sumw * kept, sumw2=self.before.sumw2 * kept)

    def weights(self, block: JetBlock) -> Floats:
        """Returns what the weight of each jet is to be multiplied with, shape (num_jets,).

        Raises:
            DataError: pt or eta is NaN, or a truth code has no name.
        """
        return np.asarray(self.factors[_cells(block, self.before.truths, self.before.bins)])

    def probabilities(self, block: JetBlock) -> Floats:
        """Returns the keep-probability of each jet, shape (num_jets,).

        Raises:
            DataError: pt or eta is NaN, or a truth code has no name.
        """
        return np.asarray(self.keep_probabilities[_cells(block, self.before.truths, self.before.bins)])

    def kept(self, block: JetBlock, jet_id: NDArray[np.int64], *, draw: int = 0) -> Bools:
        """Returns which jets are sampled, shape (num_jets,); that depends on their ids, the seed and the draw only.

        Jets that are kept keep their weights. The hash is none of those that split events.

        Args:
            block: The jets.
            jet_id: Ids of the jets; jets of equal id share one random number.
            draw: Which of many independent samplings it is, such as the number of the epoch.

        Raises:
            DataError: pt or eta is NaN, or a truth code has no name.
        """
        drawn = uniform(jet_id, salt=_SAMPLING + self.settings.seed * _DRAWS + draw)
        return np.asarray(drawn < self.probabilities(block))

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types, for :func:`read_reweighting`."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "truths": list(self.before.truths),
            "sumw": self.before.sumw.tolist(),
            "sumw2": self.before.sumw2.tolist(),
        }


def fill_spectra(blocks: Iterable[JetBlock], truths: Sequence[str], settings: ReweightingSettings) -> Spectra:
    """Returns the spectra of all truths, in one pass over the blocks; memory does not grow with their number.

    Raises:
        DataError: pt or eta is NaN, a truth code has no name, or weights are negative or not finite.
    """
    bins = settings.bins
    shape = (len(truths), len(bins.pt) + 1, len(bins.eta) + 1)
    sumw, sumw2 = np.zeros(shape), np.zeros(shape)
    for block in blocks:
        cell = np.ravel_multi_index(_cells(block, truths, bins), shape)
        w = np.ones(len(cell)) if block.weight is None else np.asarray(block.weight, np.float64)
        if count := int((~np.isfinite(w) | (w < 0)).sum()):
            raise DataError(
                f"{count} of {len(w)} weights of jets are negative or not finite",
                hint="spectra that are ratios of others need positive weights; reweight without weights",
            )
        sumw += np.bincount(cell, w, sumw.size).reshape(shape)
        sumw2 += np.bincount(cell, w**2, sumw.size).reshape(shape)
    return Spectra(tuple(truths), bins, sumw, sumw2, clip=settings.outside == "clip")


def make_reweighting(spectra: Spectra, settings: ReweightingSettings) -> Reweighting:
    """Returns the reweighting that gives every truth the reference's spectrum in pt and eta.

    The factor of truth f in a bin is N_f h_ref / h_f. N_f is such that the sum of weights of f in the bins stays what
    it was (``normalise: truth``) or becomes the reference's (``reference``); with ``no_reference: one`` the jets in
    bins without reference keep weight 1 and are not in these sums. Bins where f has no jets, though the reference has,
    can't be filled by weights: the others share what is missing, and ``unreached`` says how much it is. The factor of a
    truth without jets is 1.

    Args:
        spectra: Of :func:`fill_spectra` with the same settings.
        settings: Reference, normalisation, and what becomes of jets where there is nothing to compare.

    Raises:
        ConfigError: The reference is no truth.
        DataError: The reference has no jets in the bins, or a truth none where the reference has some (which with
            ``no_reference: one`` leaves all its jets at weight 1).
    """
    truths, h = spectra.truths, spectra.inside
    if settings.reference not in truths:
        raise ConfigError(
            f"there is no truth '{settings.reference}'",
            where="reference",
            allowed=", ".join(truths),
            nearest=nearest_name(settings.reference, truths),
        )
    reference = h[truths.index(settings.reference)]
    if not reference.any():
        raise DataError(f"the reference '{settings.reference}' has no jets in the bins", allowed="a spectrum")
    both = np.asarray((h > 0) & (reference > 0))
    alone = [name for name, mine, shared in zip(truths, h, both, strict=True) if mine.any() and not shared.any()]
    if alone and settings.no_reference == "drop":
        raise DataError(
            f"{', '.join(alone)}: no jets in any bin where the reference '{settings.reference}' has some",
            hint="take wider bins or another reference, or set no_reference: one",
        )
    target = np.where(both, reference, 0.0)
    counted = both if settings.no_reference == "one" else h > 0
    own = np.where(counted, h, 0.0).sum((1, 2))
    total = own if settings.normalise == "truth" else np.where(own > 0, reference.sum(), 0.0)
    norm = np.divide(total, target.sum((1, 2)), out=np.zeros(len(truths)), where=total > 0)
    outside_of_reference = np.where((reference > 0) | (settings.no_reference == "one"), 1.0, 0.0)
    inner = np.where(both, norm[:, None, None] * target / np.where(both, h, 1), outside_of_reference)
    factors = _with_flow(np.where(h.sum((1, 2), keepdims=True) > 0, inner, 1.0), settings)
    return Reweighting(settings, spectra, factors, 1 - target.sum((1, 2)) / reference.sum())


def read_reweighting(values: Mapping[str, Any]) -> Reweighting:
    """Returns the reweighting of which :meth:`Reweighting.to_json` made these values."""
    settings = ReweightingSettings.model_validate(values["settings"])
    sumw, sumw2 = (np.asarray(values[name], np.float64) for name in ("sumw", "sumw2"))
    spectra = Spectra(tuple(values["truths"]), settings.bins, sumw, sumw2, clip=settings.outside == "clip")
    return make_reweighting(spectra, settings)


def _with_flow(inner: Floats, settings: ReweightingSettings) -> Floats:
    """Returns the factors with those of under- and overflow around them."""
    if settings.outside == "clip":
        return np.pad(inner, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return np.pad(inner, ((0, 0), (1, 1), (1, 1)), constant_values=1.0 if settings.outside == "one" else 0.0)


def _flow(bins: JetBinning) -> Bools:
    """Returns which bins are under- or overflow, shape (1, num_pt + 2, num_eta + 2)."""
    inner = np.zeros((1, len(bins.pt) - 1, len(bins.eta) - 1), bool)
    return np.pad(inner, ((0, 0), (1, 1), (1, 1)), constant_values=True)


def _cells(
    block: JetBlock, truths: Sequence[str], bins: JetBinning
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    truth = np.asarray(block.truth, np.int64)
    if len(truth) and not (truth.min() >= 0 and truth.max() < len(truths)):
        raise DataError(
            "there are truth codes without a name",
            got=f"{truth.min()} to {truth.max()}",
            allowed=f"0 to {len(truths) - 1} ({', '.join(truths)})",
            hint="drop jets without truth before",
        )
    return truth, *jet_bins(bins, block.pt, block.eta)
