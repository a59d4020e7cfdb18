"""Jets as the sums of their constituents, taken massless."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from honeyguide.io.compiled import compiled, compiled_contracting

LARGEST_FLOAT32_ANGLE = np.nextafter(np.float32(math.pi), np.float32(0.0))
"""The largest float32 below pi: rounding pi itself to float32 gives more than pi."""

_TURN = 2.0 * math.pi
_SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(11))
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(11))

Array = NDArray[np.float64]


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


def sum_constituents(
    momentum: NDArray[np.float64], counts: NDArray[np.int64], work: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Returns pt [GeV], eta, phi [rad] and mass [GeV] of jets, shape (4, jets).

    The mass is that of the sum of massless momenta, sqrt(P+ P- - px^2 - py^2) with P+- = sum of pt exp(+-eta), which
    loses no digits to the boost along the beam as E^2 - p^2 does. A jet without constituents, or with pt 0, has eta 0.

    Args:
        momentum: pt [GeV], eta, phi [rad, in -pi to pi] of the constituents, shape (3, constituents), ordered by jet.
        counts: Number of constituents of each jet, shape (jets,).
        work: Room for intermediate values, shape (4, constituents), which callers of many blocks use again.
    """
    parts = np.empty((4, momentum.shape[1])) if work is None else work
    pt, eta, phi = (np.ascontiguousarray(row) for row in momentum)
    px, py, plus, minus = parts
    np.exp(eta, out=plus)
    _project(pt, phi, px, py, plus, minus)
    jets = np.empty((4, len(counts)))
    _sum((px, py, plus, minus), np.ascontiguousarray(counts), jets)
    return jets


@compiled_contracting
def _project(pt: Array, phi: Array, px: Array, py: Array, plus: Array, minus: Array) -> None:
    """Fills px, py, P+ and P- of each constituent; ``plus`` is exp(eta) before.

    Sine and cosine are Taylor series of the half angle (up to pi/2; the next terms are below 2e-17) and the addition
    theorem: without branches, so that the compiler handles several constituents at once.
    """
    s, c = _SINE, _COSINE
    for i in range(len(pt)):
        h = 0.5 * phi[i]
        x = h * h
        s6 = s[6] + x * (s[7] + x * (s[8] + x * (s[9] + x * s[10])))
        c6 = c[6] + x * (c[7] + x * (c[8] + x * (c[9] + x * c[10])))
        sine = h * (1.0 + x * (s[1] + x * (s[2] + x * (s[3] + x * (s[4] + x * (s[5] + x * s6))))))
        cosine = 1.0 + x * (c[1] + x * (c[2] + x * (c[3] + x * (c[4] + x * (c[5] + x * c6)))))
        px[i] = pt[i] * (1.0 - 2.0 * sine * sine)
        py[i] = pt[i] * (2.0 * sine * cosine)
        minus[i] = pt[i] / plus[i]
        plus[i] = pt[i] * plus[i]


@compiled
def _sum(parts: tuple[Array, Array, Array, Array], counts: NDArray[np.int64], jets: Array) -> None:
    """Fills ``jets`` with pt, eta, phi, mass of the sums of ``counts`` parts each."""
    parts_px, parts_py, parts_plus, parts_minus = parts
    stop = 0
    for jet in range(len(counts)):
        start = stop
        stop = start + counts[jet]
        px = py = plus = minus = 0.0
        for i in range(start, stop):
            px += parts_px[i]
            py += parts_py[i]
            plus += parts_plus[i]
            minus += parts_minus[i]
        pt2 = px * px + py * py
        pt = math.sqrt(pt2)
        jets[0, jet] = pt
        jets[1, jet] = math.asinh(0.5 * (plus - minus) / pt) if pt > 0.0 else 0.0
        jets[2, jet] = math.atan2(py, px)
        jets[3, jet] = math.sqrt(max(plus * minus - pt2, 0.0))
