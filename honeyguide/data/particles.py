"""Four-momenta of particles: the features that networks see of them, and the sum that is their jet.

Everything is computed in float64. Whatever a four-momentum is (nothing at all, massless, along the beam), what comes
out is finite.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MAX_ETA = 20.0
"""Pseudorapidities end here: along the beam they are infinite, and no detector sees as far."""
_TINY = 1e-30  # [GeV]; its logarithm is far below every clip

Values = NDArray[np.float64]


def transverse_momentum(vectors: NDArray[np.floating]) -> Values:
    """Returns pt [GeV] of four-momenta (..., 4), shape (...,)."""
    pt: Values = np.hypot(vectors[..., 0].astype(np.float64), vectors[..., 1].astype(np.float64))
    return pt


def pseudorapidity(vectors: NDArray[np.floating]) -> Values:
    """Returns eta = asinh(pz / pt) of four-momenta (..., 4), within +-``MAX_ETA``; 0 without momentum."""
    pt = np.maximum(transverse_momentum(vectors), _TINY)
    eta: Values = np.clip(np.arcsinh(vectors[..., 2].astype(np.float64) / pt), -MAX_ETA, MAX_ETA)
    return eta


def azimuth(vectors: NDArray[np.floating]) -> Values:
    """Returns phi of four-momenta (..., 4) in (-pi, pi]; 0 without transverse momentum."""
    # + 0 makes -0 equal to 0
    phi = np.arctan2(vectors[..., 1].astype(np.float64) + 0.0, vectors[..., 0].astype(np.float64) + 0.0)
    return np.where(phi == -np.pi, np.pi, phi)


def wrap_angle(angle: Values) -> Values:
    """Returns the angles in (-pi, pi]."""
    wrapped: Values = np.pi - np.mod(np.pi - angle, 2 * np.pi)
    return wrapped


def momentum_features(vectors: NDArray[np.floating], jet: Mapping[str, NDArray[np.generic]]) -> dict[str, Values]:
    """Returns the features that four-momenta alone give, one array (num_particles,) each, not scaled.

    ``pt_log`` ln pt, ``e_log`` ln E, ``logptrel`` ln(pt / jet pt), ``logerel`` ln(E / jet E), ``deltaR`` the distance
    to the jet in eta and phi, ``deta`` (eta - jet eta) sign(jet eta), where the sign of 0 is +, and ``dphi`` phi - jet
    phi in (-pi, pi].

    Args:
        vectors: px, py, pz, E [GeV], shape (num_particles, 4).
        jet: pt, eta, phi, energy of the jet of each particle, shape (num_particles,).
    """
    own = {name: values.astype(np.float64) for name, values in jet.items()}
    pt = np.maximum(transverse_momentum(vectors), _TINY)
    energy = np.maximum(vectors[..., 3].astype(np.float64), _TINY)
    deta = (pseudorapidity(vectors) - own["eta"]) * np.where(own["eta"] < 0, -1.0, 1.0)
    dphi = wrap_angle(azimuth(vectors) - own["phi"])
    return {
        "pt_log": np.log(pt),
        "e_log": np.log(energy),
        "logptrel": np.log(pt) - np.log(np.maximum(own["pt"], _TINY)),
        "logerel": np.log(energy) - np.log(np.maximum(own["energy"], _TINY)),
        "deltaR": np.hypot(deta, dphi),
        "deta": deta,
        "dphi": dphi,
    }


def jet_kinematics(vectors: NDArray[np.floating]) -> dict[str, Values]:
    """Returns pt, eta, phi, energy and mass of the sums of four-momenta, one array (num_jets,) each.

    Args:
        vectors: px, py, pz, E [GeV], shape (num_jets, num_particles, 4); 0 where there is no particle.
    """
    total = vectors.sum(axis=1, dtype=np.float64)
    squared = total[:, 3] ** 2 - np.square(total[:, :3]).sum(axis=1)
    return {
        "pt": transverse_momentum(total),
        "eta": pseudorapidity(total),
        "phi": azimuth(total),
        "energy": total[:, 3],
        "mass": np.sqrt(np.maximum(squared, 0.0)),
    }


def below_momentum(vectors: NDArray[np.floating], *, tolerance: float = 1e-5) -> NDArray[np.bool_]:
    """Returns which four-momenta (..., 4) have less energy than momentum, beyond the rounding of float32."""
    momentum = np.sqrt(np.square(vectors[..., :3].astype(np.float64)).sum(axis=-1))
    below: NDArray[np.bool_] = vectors[..., 3] < momentum * (1 - tolerance)
    return below
