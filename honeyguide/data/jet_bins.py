"""Bins of jets in pt and eta."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import DataError

Ints = NDArray[np.int64]


def bin_index(values: ArrayLike, edges: ArrayLike, *, name: str) -> Ints:
    """Returns the bin of each value: 0 below the first edge, 1 to n in the bins, n + 1 from the last edge on.

    Raises:
        DataError: A value is NaN, which is in no bin.
    """
    v = np.asarray(values, np.float64)
    if count := int(np.isnan(v).sum()):
        raise DataError(f"{count} of {len(v)} jets have a {name} that is NaN", hint="reject them when reading")
    return np.asarray(np.searchsorted(np.asarray(edges, np.float64), v, side="right"), np.int64)


def jet_bins(binning: JetBinning, pt: ArrayLike, eta: ArrayLike) -> tuple[Ints, Ints]:
    """Returns the bins in pt and in eta of each jet, see :func:`bin_index`; pt in GeV."""
    eta = np.asarray(eta, np.float64)
    eta = np.abs(eta) if binning.absolute_eta else eta
    return bin_index(pt, binning.pt, name="pt"), bin_index(eta, binning.eta, name="eta")
