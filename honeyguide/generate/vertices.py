"""Secondary vertices of the tracks of jets, as a vertex finder would find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.pythia import GeneratedParticles
from honeyguide.generate.tracking import unit_vectors

_DISPLACED = 0.01  # mm; nearer to the collision nothing is told apart
_LONG_LIVED = (310, 3122, 3112, 3222, 3312, 3322, 3334)  # K0_S and hyperons: vertices of their own
_PION_MASS = 0.13957
_MIN_TRACKS = 2


@dataclass(frozen=True)
class JetTracks:
    """Tracks in jets, flat: jet, generated particle, measured momentum, resolution of d0 (mm) of each."""

    jet: NDArray[np.int64]
    source: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    sigma_d0: NDArray[np.float64]


@dataclass(frozen=True)
class SecondaryVertices:
    """Found vertices, shape (num_vertices,) each, sorted by jet and falling significance; mm and GeV.

    Attributes:
        jet: Jet of each vertex.
        position: Measured position relative to the collision, shape (num_vertices, 3).
        sigma: Error of the flight distance.
        sigma_xy: Error of the flight distance in the transverse plane.
        momentum: Sum of the momenta of the tracks, shape (num_vertices, 3).
        energy: Sum of their energies, all taken for pions.
        num_tracks: Number of tracks.
    """

    jet: NDArray[np.int64]
    position: NDArray[np.float64]
    sigma: NDArray[np.float64]
    sigma_xy: NDArray[np.float64]
    momentum: NDArray[np.float64]
    energy: NDArray[np.float64]
    num_tracks: NDArray[np.int64]

    @property
    def distance(self) -> NDArray[np.float64]:
        """Flight distance."""
        return np.hypot(np.hypot(self.position[:, 0], self.position[:, 1]), self.position[:, 2])

    @property
    def mass(self) -> NDArray[np.float64]:
        """Invariant mass of the tracks, all taken for pions."""
        square = self.energy**2 - np.einsum("ij,ij->i", self.momentum, self.momentum)
        mass: NDArray[np.float64] = np.sqrt(np.maximum(square, 0.0))
        return mass


def find_vertices(
    tracks: JetTracks, particles: GeneratedParticles, *, min_significance: float, rng: np.random.Generator
) -> SecondaryVertices:
    """Returns the vertices of displaced tracks, as true as the tracks that were found.

    Which tracks belong together is known from the simulation: the tracks of one jet from one displaced decay, together
    with those from decays of its products (b -> c), but K0_S and hyperons have vertices of their own. With two tracks
    or more, the true position is the mean of their origins with weights sin^2(theta_i) / sigma_i^2, where theta_i is
    the angle between track and flight, and sigma_i the resolution of its d0. It is measured with Gaussian errors, those
    of a fit with these tracks: sigma_L^-2 = sum sin^2(theta_i) / sigma_i^2 along the flight, sigma_T^-2 = sum 1 /
    sigma_i^2 across. No vertex is made of tracks that have nothing in common.
    """
    assert particles.history is not None
    tracks, group, num_groups = _grouped(tracks, particles)
    origin = particles.history.vertex[tracks.source]
    direction = unit_vectors(tracks.eta, tracks.phi)
    flight = _sums(origin, group, num_groups)
    flight /= np.linalg.norm(flight, axis=1, keepdims=True)
    cosine = np.einsum("ij,ij->i", direction, flight[group])
    weight = np.maximum(1 - cosine**2, 1e-8) / tracks.sigma_d0**2
    total = np.bincount(group, weight, num_groups)
    along = 1 / np.sqrt(total)
    across = 1 / np.sqrt(np.bincount(group, tracks.sigma_d0**-2.0, num_groups))
    errors = across[:, None] * rng.standard_normal((num_groups, 3))
    errors -= np.einsum("ij,ij->i", errors, flight)[:, None] * flight
    errors += (along * rng.standard_normal(num_groups))[:, None] * flight
    momentum = tracks.pt * np.cosh(tracks.eta)
    first = np.full(num_groups, -1, dtype=np.int64)
    first[group] = tracks.jet
    vertices = SecondaryVertices(
        jet=first,
        position=_sums(origin * weight[:, None], group, num_groups) / total[:, None] + errors,
        sigma=along,
        sigma_xy=np.hypot(along * np.hypot(flight[:, 0], flight[:, 1]), across * flight[:, 2]),
        momentum=_sums(direction * momentum[:, None], group, num_groups),
        energy=np.bincount(group, np.hypot(momentum, _PION_MASS), num_groups).astype(np.float64),
        num_tracks=np.bincount(group, minlength=num_groups),
    )
    return _found(vertices, flight, min_significance)


def _found(vertices: SecondaryVertices, flight: NDArray[np.float64], min_significance: float) -> SecondaryVertices:
    significance = np.einsum("ij,ij->i", vertices.position, flight) / vertices.sigma
    keep = np.flatnonzero(significance > min_significance)
    order = keep[np.lexsort((-significance[keep], vertices.jet[keep]))]
    return SecondaryVertices(**{name: column[order] for name, column in vars(vertices).items()})


def _grouped(tracks: JetTracks, particles: GeneratedParticles) -> tuple[JetTracks, NDArray[np.int64], int]:
    """Returns the tracks that share a displaced decay with another one of their jet, and their groups, from 0."""
    decay = _displaced_decay(tracks.source, particles)
    displaced = np.flatnonzero(decay != tracks.source)
    keys = np.stack([tracks.jet[displaced], decay[displaced]])
    _, group, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    shared = counts[group] >= _MIN_TRACKS
    chosen = displaced[shared]
    names, group = np.unique(group[shared], return_inverse=True)
    kept = JetTracks(**{name: column[chosen] for name, column in vars(tracks).items()})
    return kept, group, len(names)


def _displaced_decay(source: NDArray[np.int64], particles: GeneratedParticles) -> NDArray[np.int64]:
    """Returns the particle in whose decay, or chain of decays, each particle was produced; itself if not displaced."""
    assert particles.history is not None
    history, start = particles.history, particles.offsets[particles.event[source]]
    displaced = np.linalg.norm(history.vertex, axis=1) > _DISPLACED
    long_lived = np.isin(np.abs(particles.pdg_id), _LONG_LIVED)
    node = source.copy()
    climbs = displaced[node]
    while climbs.any():
        node[climbs] = start[climbs] + history.mother[node[climbs]]
        climbs = climbs & displaced[node] & ~long_lived[node]
    return node


def _sums(values: NDArray[np.float64], group: NDArray[np.int64], num_groups: int) -> NDArray[np.float64]:
    sums = [np.bincount(group, column, num_groups) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64)  # without any group they are integers
