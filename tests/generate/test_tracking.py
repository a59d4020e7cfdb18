"""Helices, signs, resolutions and vertices, on tracks made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

from honeyguide.generate.matching import Axes, hardest, nearest_jets
from honeyguide.generate.pythia import GeneratedParticles, History
from honeyguide.generate.settings import TrackingSettings
from honeyguide.generate.tracking import measured, resolutions, signed_impact, true_perigee
from honeyguide.generate.vertices import JetTracks, SecondaryVertices, find_vertices

SETTINGS = TrackingSettings()
K_SHORT, PION, B_ZERO, D_PLUS = 310, 211, 511, 411


@pytest.mark.parametrize("seed", range(4))
def test_perigee_is_where_the_lorentz_force_brings_the_particle_closest_to_the_beam(seed: int) -> None:
    rng = np.random.default_rng(seed)
    charge = rng.choice([-1.0, 1.0])
    vertex = rng.normal(0, 30, 3)
    phi = rng.uniform(-np.pi, np.pi)
    momentum = rng.uniform(1, 4) * np.array([np.cos(phi), np.sin(phi), rng.normal(0, 1)])

    def force(_: float, state: np.ndarray) -> np.ndarray:
        # dx/ds = p / |p|, dp/ds = 0.3 q (p / |p|) x B; m, GeV, T
        direction = state[3:] / np.linalg.norm(state[3:])
        return np.concatenate([direction, 0.299792458 * charge * np.cross(direction, [0, 0, SETTINGS.magnetic_field])])

    start = np.concatenate([vertex / 1000, momentum])
    ways = [solve_ivp(force, (0, end), start, rtol=1e-8, atol=1e-9, dense_output=True).sol for end in (-0.6, 0.6)]
    found = [
        minimize_scalar(
            lambda s, way=way: np.hypot(*way(s)[:2]), bounds=sorted((0, way.t_max or way.t_min)), method="bounded"
        )
        for way in ways
    ]
    closest, way = min(zip(found, ways, strict=True), key=lambda pair: pair[0].fun)
    expected = way(closest.x)
    perigee = true_perigee(vertex[None], momentum[None], np.array([charge]), SETTINGS)
    np.testing.assert_allclose(perigee.point[0], 1000 * expected[:3], atol=1e-2)
    assert np.angle(np.exp(1j * (perigee.phi[0] - np.arctan2(expected[4], expected[3])))) == pytest.approx(0, abs=1e-3)


def test_prompt_particles_have_no_impact_parameter() -> None:
    momentum = np.random.default_rng(1).normal(0, 5, (100, 3))
    found = true_perigee(np.zeros((100, 3)), momentum, np.resize([1.0, -1.0], 100), SETTINGS)
    np.testing.assert_allclose(found.point, 0, atol=1e-8)


@pytest.mark.parametrize("place", [4.0, -4.0])
def test_decays_along_the_jet_have_positive_impact_parameters_and_behind_the_collision_negative(place: float) -> None:
    rng = np.random.default_rng(2)
    num = 200
    eta, phi = rng.uniform(-2, 2, num), rng.uniform(-np.pi, np.pi, num)
    axis = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
    track_eta, track_phi = eta + rng.normal(0, 0.1, num), phi + rng.normal(0, 0.1, num)
    pt = 1e4  # as good as straight
    momentum = pt * np.stack([np.cos(track_phi), np.sin(track_phi), np.sinh(track_eta)], axis=1)
    perigee = true_perigee(place * axis, momentum, np.ones(num), SETTINGS)
    impact = signed_impact(perigee, eta, phi)
    assert (np.sign(impact.d0) == np.sign(place)).all()
    assert (np.sign(impact.d3) == np.sign(place)).all()
    # the sign by eta holds where the turn in phi hardly moves the closest point
    level = np.abs(track_eta - eta) > (track_phi - phi) ** 2
    assert level.mean() > 0.8
    assert (np.sign(impact.z0) == np.sign(place))[level].all()
    np.testing.assert_allclose(impact.decay_length, place, rtol=0.02)
    assert impact.distance.max() < 1e-2
    # straight lines: distance of the collision from the track
    angle = np.arccos(np.einsum("ij,ij->i", axis, momentum) / np.linalg.norm(momentum, axis=1))
    np.testing.assert_allclose(np.abs(impact.d3), abs(place) * np.sin(angle), rtol=0.02)


def test_resolutions_are_those_of_the_formula() -> None:
    sigma_d0, sigma_z0 = resolutions(np.array([1.0, 100.0]), np.zeros(2), SETTINGS)
    assert sigma_d0 == pytest.approx([0.0906, 0.0100], abs=1e-4)
    assert sigma_z0 == pytest.approx([0.1530, 0.0300], abs=1e-4)
    # 2 GeV at 30 degrees
    sigma_d0, sigma_z0 = resolutions(np.array([1.0]), np.array([np.sqrt(3.0)]), SETTINGS)
    assert sigma_d0[0] == pytest.approx(np.hypot(0.010, 0.045 * 2**1.5))
    assert sigma_z0[0] == pytest.approx(np.hypot(0.030, 0.075 * 2**2.5))


def test_measured_tracks_scatter_by_their_resolution_about_the_truth() -> None:
    num = 20_000
    true = true_perigee(np.full((num, 3), 0.3), np.full((num, 3), 2.0), np.ones(num), SETTINGS)
    seen = measured(true, np.random.default_rng(4))
    pulls = [(seen.d0 - true.d0) / true.sigma_d0, (seen.z0 - true.z0) / true.sigma_z0]
    for pull in pulls:
        assert abs(pull.mean()) < 4 / np.sqrt(num)
        assert abs(pull.std() - 1) < 4 / np.sqrt(2 * num)
    assert abs(np.corrcoef(pulls)[0, 1]) < 4 / np.sqrt(num)


def family(num: int, *, parent: int, daughters: list[tuple[int, float]], angle: float) -> GeneratedParticles:
    """``num`` events with a parent from the collision along x and daughters (PDG id, x of their production).

    The daughters fly by turns at plus and minus ``angle`` about x, 10 GeV each; the mother of each is the last one
    before it that is no pion.
    """
    size = len(daughters) + 2  # entry 0 is the whole event
    kinds = [90, parent, *(kind for kind, _ in daughters)]
    mothers = [0, 0]
    for place in range(2, size):
        mothers.append(place - 1 if kinds[place - 1] != PION else mothers[place - 1])
    turns = np.array([0, 0, *(angle * (-1) ** place for place in range(len(daughters)))])
    x = [0, 0, *(place for _, place in daughters)]
    vertex = np.zeros((size, 3))
    vertex[:, 0] = x
    return GeneratedParticles(
        offsets=np.arange(num + 1) * size,
        weights=np.ones(num),
        pdg_id=np.tile(np.array(kinds, dtype=np.int32), num),
        is_final=np.tile(np.array(kinds) == PION, num),
        charge=np.tile((np.array(kinds) == PION).astype(float), num),
        px=np.tile(10 * np.cos(turns), num),
        py=np.tile(10 * np.sin(turns), num),
        pz=np.zeros(num * size),
        daughter=np.zeros(num * size, dtype=np.int64),
        history=History(status=np.full(num * size, 91), mother=np.tile(mothers, num), vertex=np.tile(vertex, (num, 1))),
    )


def vertices_of(particles: GeneratedParticles, *, sigma: float = 0.01, cut: float = 3.0) -> SecondaryVertices:
    """The vertices of all pions, one jet per event."""
    source = np.flatnonzero(particles.is_final)
    phi = np.arctan2(particles.py[source], particles.px[source])
    flat = np.zeros(len(source))
    tracks = JetTracks(particles.event[source], source, flat + 10.0, flat, phi, flat + sigma)
    return find_vertices(tracks, particles, min_significance=cut, rng=np.random.default_rng(5))


def test_flight_distance_has_the_error_of_a_fit_of_its_tracks() -> None:
    num, angle, sigma = 4000, 0.1, 0.02
    particles = family(num, parent=K_SHORT, daughters=[(PION, 5.0), (PION, 5.0)], angle=angle)
    found = vertices_of(particles, sigma=sigma)
    assert found.jet.tolist() == list(range(num))
    assert (found.num_tracks == 2).all()
    expected = sigma / (np.sqrt(2) * np.sin(angle))
    np.testing.assert_allclose(found.sigma, expected)
    pull = (found.position[:, 0] - 5.0) / expected
    assert abs(pull.mean()) < 4 / np.sqrt(num)
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * num)
    assert found.position[:, 1].std() == pytest.approx(sigma / np.sqrt(2), rel=0.05)
    np.testing.assert_allclose(found.mass, np.sqrt(4 * 0.13957**2 + (20 * np.sin(angle)) ** 2), rtol=1e-6)


def test_vertices_are_made_of_tracks_that_share_a_displaced_decay() -> None:
    pair = [(PION, 5.0), (PION, 5.0)]
    assert len(vertices_of(family(3, parent=B_ZERO, daughters=pair[:1], angle=0.1)).jet) == 0
    assert len(vertices_of(family(3, parent=B_ZERO, daughters=[(PION, 0.0), (PION, 0.0)], angle=0.1)).jet) == 0
    # b -> c: one vertex with the tracks of both, between the two decays
    chain = vertices_of(family(3, parent=B_ZERO, daughters=[*pair, (D_PLUS, 5.0), (PION, 8.0), (PION, 8.0)], angle=0.1))
    assert chain.num_tracks.tolist() == [4, 4, 4]
    assert chain.position[:, 0] == pytest.approx(6.5, abs=0.3)
    # b -> K0_S: the K0_S has a vertex of its own, and the more significant one is the first
    apart = vertices_of(
        family(2, parent=B_ZERO, daughters=[*pair, (K_SHORT, 5.0), (PION, 50.0), (PION, 50.0)], angle=0.1)
    )
    assert apart.jet.tolist() == [0, 0, 1, 1]
    assert apart.position[:, 0] == pytest.approx([50, 5, 50, 5], abs=0.5)


def test_insignificant_vertices_are_not_found() -> None:
    particles = family(1000, parent=K_SHORT, daughters=[(PION, 1.0), (PION, 1.0)], angle=0.1)
    sigma = 1.0 / 3.0 * np.sqrt(2) * np.sin(0.1)  # a flight of just three times its error
    assert abs(len(vertices_of(particles, sigma=sigma).jet) - 500) < 4 * np.sqrt(250)
    assert len(vertices_of(particles, sigma=sigma, cut=0.0).jet) > 980


def test_objects_belong_to_the_nearest_jet_of_their_event_also_across_the_seam() -> None:
    ones = np.ones(3)
    jets = Axes(np.array([0, 0, 2]), ones, np.array([0.0, 0.5, 0.0]), np.array([3.1, 3.1, 0.0]))
    objects = Axes(
        event=np.array([0, 0, 0, 1, 2]),
        pt=np.array([1.0, 3.0, 2.0, 5.0, 1.0]),
        eta=np.array([0.1, 0.3, 0.0, 0.0, 0.0]),
        phi=np.array([3.1, 3.1, -3.1, 3.1, 0.5]),
    )
    found = nearest_jets(jets, objects, radius=0.4)
    assert found.tolist() == [0, 1, 0, -1, -1]
    assert hardest(found, objects, 3).tolist() == [2, 1, -1]
