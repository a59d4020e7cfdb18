"""Jets as the sums of their constituents, taken massless."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from honeyguide.io.compiled import compiled

LARGEST_FLOAT32_ANGLE = np.nextafter(np.float32(math.pi), np.float32(0.0))
"""The largest float32 below pi: rounding pi itself to float32 gives more than pi."""

_TURN = 2.0 * math.pi


def wrap_angles(phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the angles in (-pi, pi], in place. Angles that are inside already are not touched."""
    outside = np.flatnonzero((phi <= -math.pi) | (phi > math.pi))
    some = phi[outside]
    wrapped = some - _TURN * np.ceil((some - math.pi) / _TURN)
    wrapped[wrapped <= -math.pi] = math.pi
    phi[outside] = np.minimum(wrapped, math.pi)
    return phi


def to_float32_angles(phi: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns angles in (-pi, pi] as float32 that are in (-pi, pi] too."""
    limit = LARGEST_FLOAT32_ANGLE
    return np.clip(phi.astype(np.float32), -limit, limit)


def sum_constituents(momentum: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns pt [GeV], eta, phi [rad] and mass [GeV] of jets, shape (4, jets).

    The mass is that of the sum of massless momenta, sqrt(P+ P- - px^2 - py^2) with P+- = sum of pt exp(+-eta), which
    loses no digits to the boost along the beam as E^2 - p^2 does. A jet without constituents, or with pt 0, has eta 0.

    Args:
        momentum: pt [GeV], eta, phi [rad, in -pi to pi] of the constituents, shape (3, constituents), ordered by jet.
        counts: Number of constituents of each jet, shape (jets,).
    """
    pt, eta, phi = momentum
    parts = np.empty((4, len(pt)))
    _project(pt, np.exp(eta), phi, parts)
    jets = np.empty((4, len(counts)))
    _sum(parts, counts, jets)
    return jets


@compiled
def _project(pt, exp_eta, phi, parts):  # type: ignore[no-untyped-def]
    """Fills ``parts`` with px, py, P+, P- of each constituent.

    Sine and cosine are Taylor series of the half angle (below pi/2) and the addition theorem: without branches, so that
    the compiler handles several constituents at once.
    """
    for i in range(len(pt)):
        half = 0.5 * phi[i]
        x = half * half
        sine = 1.0
        cosine = 1.0
        for k in range(11, 0, -1):
            sine = 1.0 - sine * x * (1.0 / (2 * k * (2 * k + 1)))
            cosine = 1.0 - cosine * x * (1.0 / (2 * k * (2 * k - 1)))
        sine *= half
        parts[0, i] = pt[i] * (1.0 - 2.0 * sine * sine)
        parts[1, i] = pt[i] * (2.0 * sine * cosine)
        parts[2, i] = pt[i] * exp_eta[i]
        parts[3, i] = pt[i] / exp_eta[i]


@compiled
def _sum(parts, counts, jets):  # type: ignore[no-untyped-def]
    """Fills ``jets`` with pt, eta, phi, mass of the sums of ``counts`` parts each."""
    stop = 0
    for jet in range(len(counts)):
        start = stop
        stop = start + counts[jet]
        px = py = plus = minus = 0.0
        for i in range(start, stop):
            px += parts[0, i]
            py += parts[1, i]
            plus += parts[2, i]
            minus += parts[3, i]
        pt2 = px * px + py * py
        pt = math.sqrt(pt2)
        jets[0, jet] = pt
        jets[1, jet] = math.asinh(0.5 * (plus - minus) / pt) if pt > 0.0 else 0.0
        jets[2, jet] = math.atan2(py, px)
        jets[3, jet] = math.sqrt(max(plus * minus - pt2, 0.0))
