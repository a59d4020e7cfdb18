"""The parametric detector, part by part, on particles made by hand."""

from __future__ import annotations

from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
from numpy.typing import ArrayLike

from honeyguide.generate.detector import detect, missing_momentum
from honeyguide.generate.pythia import GeneratedParticles
from honeyguide.generate.settings import DetectorSettings, ParticleResponse

PION, ELECTRON, MUON, NEUTRINO, PHOTON, NEUTRON = 211, -11, 13, 12, 22, 2112
CHARGES = {PION: 1, ELECTRON: 1, MUON: -1}


def exact(**changes: object) -> DetectorSettings:
    """A detector that sees everything as it is, without thresholds, but for the changes."""
    tracker = ParticleResponse(efficiency=1.0, constant=0.0, max_abs_eta=2.5, min_pt=0.0)
    calorimeter = tracker.model_copy(update={"max_abs_eta": 5.0})
    classes = dict.fromkeys(("charged_hadrons", "electrons", "muons"), tracker)
    values = {**classes, "photons": calorimeter, "neutral_hadrons": calorimeter, "cell_size": 0.0, **changes}
    return DetectorSettings(**values)


def particles(pdg_id: ArrayLike, pt: ArrayLike, eta: ArrayLike, phi: ArrayLike) -> GeneratedParticles:
    """Massless stable particles, one event."""
    kinds, pt, eta, phi = (np.atleast_1d(part) for part in np.broadcast_arrays(pdg_id, pt, eta, phi))
    return GeneratedParticles(
        offsets=np.array([0, len(kinds)]),
        weights=np.ones(1),
        pdg_id=kinds.astype(np.int32),
        is_final=np.ones(len(kinds), dtype=bool),
        charge=np.array([CHARGES.get(int(kind), 0) for kind in kinds], dtype=float),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        daughter=np.zeros(len(kinds), dtype=np.int64),
    )


def see(generated: GeneratedParticles, settings: DetectorSettings) -> ak.Array:
    return detect(generated, settings, np.random.default_rng(3))


def test_an_exact_detector_sees_the_truth_in_order_of_pt() -> None:
    kinds = [PION, ELECTRON, MUON, PHOTON, NEUTRON]
    seen = see(
        particles(kinds, [1.0, 5.0, 3.0, 4.0, 2.0], [0.1, -2.0, 2.4, -4.9, 3.0], [0.5, 3.1, -3.1, 0, 1]), exact()
    )
    assert seen.pdg_id.tolist() == [[ELECTRON, PHOTON, MUON, NEUTRON, PION]]
    assert seen.pt.tolist()[0] == pytest.approx([5, 4, 3, 2, 1])
    assert seen.eta.tolist()[0] == pytest.approx([-2.0, -4.9, 2.4, 3.0, 0.1])
    assert seen.phi.tolist()[0] == pytest.approx([3.1, 0, -3.1, 1, 0.5])


def test_neutrinos_dark_matter_and_unstable_particles_are_not_seen() -> None:
    generated = particles([NEUTRINO, -NEUTRINO, 14, 16, 51, -53, 4900111, PHOTON, PHOTON], 10.0, 0.1, 0.2)
    generated = replace(generated, is_final=np.arange(9) != 8)
    assert see(generated, exact()).pdg_id.tolist() == [[PHOTON]]


def test_acceptance_of_tracker_and_calorimeter() -> None:
    # beyond the tracker a pion is a deposit in the calorimeter, a muon is lost; beyond the calorimeter all is
    assert ak.num(see(particles(PION, 10.0, [2.4, 2.6, 4.9, 5.1], 0.0), exact())).tolist() == [3]
    assert ak.num(see(particles(MUON, 10.0, [2.4, 2.6], 0.0), exact())).tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "tracks", "cells"), [(PION, "charged_hadrons", "neutral_hadrons"), (ELECTRON, "electrons", "photons")]
)
def test_lost_tracks_are_seen_by_their_calorimeter_alone(kind: int, tracks: str, cells: str) -> None:
    blind = ParticleResponse(efficiency=0.0, constant=0.0, max_abs_eta=5.0, min_pt=0.0)
    one = particles(kind, 10.0, 0.3, 0.4)
    assert see(one, exact(**{tracks: blind})).pt.tolist() == [[pytest.approx(10.0)]]
    assert see(one, exact(**{tracks: blind, cells: blind})).pt.tolist() == [[]]


@pytest.mark.parametrize("efficiency", [0.3, 0.9])
def test_efficiency_is_the_one_that_was_set(efficiency: float) -> None:
    muons = ParticleResponse(efficiency=efficiency, constant=0.0, max_abs_eta=2.5)
    seen = ak.num(see(particles(MUON, 10.0, np.zeros(4000), 0.0), exact(muons=muons)))[0]
    assert abs(seen / 4000 - efficiency) < 4 * np.sqrt(efficiency * (1 - efficiency) / 4000)


@pytest.mark.parametrize(("pt", "eta"), [(4.0, 0.0), (100.0, 0.0), (20.0, 2.0)])
def test_resolution_is_the_one_that_was_set(pt: float, eta: float) -> None:
    response = ParticleResponse(efficiency=1.0, constant=0.03, stochastic=0.2, slope=1e-3, max_abs_eta=5.0, min_pt=0.0)
    seen = see(particles(PHOTON, pt, np.full(4000, eta), 0.0), exact(photons=response))
    expected = np.sqrt(0.03**2 + 0.2**2 / (pt * np.cosh(eta)) + (1e-3 * pt) ** 2)
    ratio = ak.to_numpy(seen.pt[0]) / pt
    assert ratio.mean() == pytest.approx(1, abs=4 * expected / np.sqrt(4000))
    assert ratio.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 4000))


def test_poor_resolution_leaves_momenta_positive() -> None:
    response = ParticleResponse(efficiency=1.0, constant=2.0, max_abs_eta=5.0, min_pt=0.0)
    assert ak.min(see(particles(PHOTON, 10.0, np.zeros(2000), 0.0), exact(photons=response)).pt) > 0


def test_thresholds_act_on_what_is_measured() -> None:
    response = ParticleResponse(efficiency=1.0, constant=0.0, max_abs_eta=5.0, min_pt=1.0)
    generated = particles(PHOTON, [0.6, 0.6, 0.6, 1.1], [0.01, 0.02, 1.0, 2.0], [0.01, 0.02, 1.0, 2.0])
    assert ak.num(see(generated, exact(photons=response))).tolist() == [1]
    # two photons of one cell are above the threshold together
    seen = see(generated, exact(photons=response, cell_size=0.1))
    assert seen.pt.tolist() == [pytest.approx([1.2, 1.1])]


def test_cells_merge_neutral_particles_of_a_class_and_no_tracks() -> None:
    kinds = [PHOTON, PHOTON, NEUTRON, 130, PION, PION, PHOTON]
    generated = particles(kinds, [3.0, 1.0, 2.0, 2.5, 5.0, 6.0, 9.0], [0.02] * 6 + [0.12], 0.02)
    seen = see(generated, exact(cell_size=0.1))
    assert seen.pdg_id.tolist() == [[PHOTON, PION, PION, 130, PHOTON]]
    assert seen.pt.tolist()[0] == pytest.approx([9, 6, 5, 4.5, 4])


@pytest.mark.parametrize(("eta", "phi"), [(0.02, 0.12), (0.12, 0.02), (-0.02, 0.02), (0.02, -0.02)])
def test_neighbouring_cells_are_not_merged(eta: float, phi: float) -> None:
    generated = particles(PHOTON, [3.0, 1.0], [0.02, eta], [0.02, phi])
    assert see(generated, exact(cell_size=0.1)).pt.tolist() == [pytest.approx([3, 1])]


def test_events_do_not_mix() -> None:
    generated = particles(PHOTON, [1.0, 2.0, 4.0], 0.02, 0.02)
    generated = replace(generated, offsets=np.array([0, 1, 1, 3]), weights=np.ones(3))
    assert see(generated, exact(cell_size=0.1)).pt.tolist() == [[pytest.approx(1)], [], [pytest.approx(6)]]


def test_missing_momentum_balances_what_is_seen() -> None:
    seen = see(particles([NEUTRINO, PHOTON, PION], [30.0, 20.0, 10.0], [0, 1, -1], [0.0, np.pi, np.pi]), exact())
    met, phi = missing_momentum(seen)
    assert met == pytest.approx([30.0])
    assert np.cos(phi) == pytest.approx([1.0])


def test_missing_momentum_points_away_from_what_is_seen() -> None:
    met, phi = missing_momentum(ak.Array([[{"pt": 10.0, "phi": 0.5}], [{"pt": 3.0, "phi": -2.0}]]))
    assert met.tolist() == pytest.approx([10.0, 3.0])
    assert phi.tolist() == pytest.approx([0.5 - np.pi, np.pi - 2.0])
