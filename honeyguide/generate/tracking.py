"""Tracks as helices: impact parameters, their resolution, and their sign relative to a jet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.settings import TrackingSettings

_GEV_PER_TESLA_MM = 0.299792458e-3  # transverse momentum of a unit charge on a circle of 1 mm in 1 T


@dataclass(frozen=True)
class Perigee:
    """Tracks where they are closest to the beam, the z axis, in the transverse plane.

    Attributes:
        d0: Signed transverse impact parameter in mm; the point is d0 (-sin phi, cos phi), shape (num_tracks,).
        z0: z of that point in mm.
        phi: Azimuth of the momentum there.
        eta: Pseudorapidity of the momentum, the same all along the helix.
        sigma_d0: Resolution of d0 in mm.
        sigma_z0: Resolution of z0 in mm.
    """

    d0: NDArray[np.float64]
    z0: NDArray[np.float64]
    phi: NDArray[np.float64]
    eta: NDArray[np.float64]
    sigma_d0: NDArray[np.float64]
    sigma_z0: NDArray[np.float64]

    @property
    def point(self) -> NDArray[np.float64]:
        """The point closest to the beam in mm, shape (num_tracks, 3)."""
        return np.stack([-self.d0 * np.sin(self.phi), self.d0 * np.cos(self.phi), self.z0], axis=1)


@dataclass(frozen=True)
class SignedImpact:
    """Impact parameters in the lifetime sign convention, in mm, shape (num_tracks,): decays along the jet are positive.

    Attributes:
        d0: Transverse, negative where the closest point lies behind the beam as seen along the jet.
        z0: Longitudinal, with the sign of (eta of the jet - eta of the track) * z0.
        d3: In three dimensions, of the straight line through the closest point.
        sigma_d3: Its error.
        distance: Closest approach of that line to the line of the jet.
        decay_length: Where on the jet that is, from the collision.
    """

    d0: NDArray[np.float64]
    z0: NDArray[np.float64]
    d3: NDArray[np.float64]
    sigma_d3: NDArray[np.float64]
    distance: NDArray[np.float64]
    decay_length: NDArray[np.float64]


def unit_vectors(eta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the directions, shape (num, 3)."""
    return np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]


def true_perigee(
    vertex: NDArray[np.float64],
    momentum: NDArray[np.float64],
    charge: NDArray[np.float64],
    settings: TrackingSettings,
) -> Perigee:
    """Returns the tracks where they are closest to the beam, without errors of measurement.

    Args:
        vertex: Where the particles are produced, in mm, shape (num_tracks, 3).
        momentum: Their momentum there, in GeV, shape (num_tracks, 3).
        charge: Their charge, 1 or -1.
        settings: Field and resolutions.
    """
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    phi = np.arctan2(momentum[:, 1], momentum[:, 0])
    radius = pt / (_GEV_PER_TESLA_MM * settings.magnetic_field)
    center_x = vertex[:, 0] + charge * radius * np.sin(phi)
    center_y = vertex[:, 1] - charge * radius * np.cos(phi)
    closest_phi = np.arctan2(charge * center_x, -charge * center_y)
    turn = (phi - closest_phi + np.pi) % (2 * np.pi) - np.pi
    sigma_d0, sigma_z0 = resolutions(pt, momentum[:, 2], settings)
    return Perigee(
        d0=charge * (radius - np.hypot(center_x, center_y)),
        z0=vertex[:, 2] + charge * radius * turn * momentum[:, 2] / pt,
        phi=closest_phi,
        eta=np.arcsinh(momentum[:, 2] / pt),
        sigma_d0=sigma_d0,
        sigma_z0=sigma_z0,
    )


def resolutions(
    pt: NDArray[np.float64], pz: NDArray[np.float64], settings: TrackingSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the resolutions of d0 and z0 in mm; for the formula see ``TrackingSettings``."""
    momentum = np.hypot(pt, pz)
    sine = pt / momentum
    return (
        np.hypot(settings.d0_constant, settings.d0_scattering / (momentum * sine**1.5)),
        np.hypot(settings.z0_constant, settings.z0_scattering / (momentum * sine**2.5)),
    )


def measured(perigee: Perigee, rng: np.random.Generator) -> Perigee:
    """Returns the tracks with Gaussian errors of d0 and z0."""
    errors = rng.standard_normal((2, len(perigee.d0)))
    return Perigee(
        d0=perigee.d0 + perigee.sigma_d0 * errors[0],
        z0=perigee.z0 + perigee.sigma_z0 * errors[1],
        phi=perigee.phi,
        eta=perigee.eta,
        sigma_d0=perigee.sigma_d0,
        sigma_z0=perigee.sigma_z0,
    )


def signed_impact(perigee: Perigee, jet_eta: NDArray[np.float64], jet_phi: NDArray[np.float64]) -> SignedImpact:
    """Returns the impact parameters of tracks relative to the axis of the jet of each."""
    axis, direction, point = unit_vectors(jet_eta, jet_phi), unit_vectors(perigee.eta, perigee.phi), perigee.point
    side = np.sign(np.sin(jet_phi - perigee.phi))
    sine = 1 / np.cosh(perigee.eta)
    nearest = point - _dot(point, direction)[:, None] * direction
    size = np.hypot(perigee.d0, perigee.z0 * sine)
    sigma = np.hypot(perigee.d0 * perigee.sigma_d0, perigee.z0 * sine**2 * perigee.sigma_z0) / size
    normal = np.cross(direction, axis)
    square = np.maximum(_dot(normal, normal), 1e-6)  # below 1 mrad the crossing is anywhere
    return SignedImpact(
        d0=side * perigee.d0,
        z0=np.sign(jet_eta - perigee.eta) * perigee.z0,
        d3=np.sign(_dot(nearest, axis)) * size,
        sigma_d3=sigma,
        distance=np.abs(_dot(point, normal)) / np.sqrt(square),
        decay_length=_dot(np.cross(point, direction), -normal) / square,
    )


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("ij,ij->i", first, second)
    return product
