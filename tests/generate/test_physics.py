"""The simulated events are what they claim to be: signals by their parameters, QCD by the LHC Olympics events."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from numpy.typing import NDArray

from honeyguide.generate.chunk import SimulatedEvents
from honeyguide.generate.jets import cluster
from honeyguide.generate.settings import JetSettings
from honeyguide.io.lhco_hdf5 import read_lhco

SVJ_MASS = 2500.0

# Largest relative deviation of a median from that of the LHC Olympics events, beside three statistical errors: our
# detector is parametric, and theirs (Delphes) is not described in full.
LHCO_TOLERANCE = {"mjj": 0.06, "mass_1": 0.12, "mass_2": 0.15, "particles": 0.10, "jet_particles": 0.10}


def observables(particles: ak.Array) -> dict[str, NDArray[np.float64]]:
    """Dijet mass, larger and smaller mass of the two leading jets (R = 1), particles in the event and in them."""
    jets = cluster(particles, JetSettings())
    two = ak.num(jets) >= 2
    jets, particles = jets[two][:, :2], particles[two]
    masses = np.sort(ak.to_numpy(jets.mass), axis=1)
    return {
        "mjj": dijet(jets)[0],
        "mass_1": masses[:, 1],
        "mass_2": masses[:, 0],
        "particles": ak.to_numpy(ak.num(particles)).astype(float),
        "jet_particles": ak.to_numpy(ak.sum(ak.num(jets.constituents, axis=2), axis=1)).astype(float),
    }


def dijet(jets: ak.Array) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mass, px and py of the sum of the two leading jets."""
    jets = jets[:, :2]
    energy = np.sqrt((jets.pt * np.cosh(jets.eta)) ** 2 + jets.mass**2)
    terms = (energy, jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta))
    energy, px, py, pz = (ak.to_numpy(ak.sum(term, axis=1)) for term in terms)
    return np.sqrt(energy**2 - px**2 - py**2 - pz**2), px, py


def transverse_mass(events: ak.Array) -> NDArray[np.float64]:
    """Transverse mass of the two leading jets and the missing momentum (arXiv:1503.00009)."""
    mass, px, py = dijet(events.jets)
    met, phi = ak.to_numpy(events.met), ak.to_numpy(events.met_phi)
    product = np.sqrt(mass**2 + px**2 + py**2) * met - px * met * np.cos(phi) - py * met * np.sin(phi)
    return np.sqrt(mass**2 + 2 * product)


def median_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median, and its standard error from resampling."""
    rng = np.random.default_rng(0)
    resampled = np.median(values[rng.integers(len(values), size=(200, len(values)))], axis=1)
    return float(np.median(values)), float(resampled.std())


@pytest.fixture(scope="module")
def lhco(shared_data: Path) -> dict[int, dict[str, NDArray[np.float64]]]:
    """Observables of the published events, by label."""
    events = read_lhco(shared_data / "lhco" / "events_anomalydetection_tiny.h5")
    assert events.label is not None
    filled = events.pt > 0
    columns = {name: getattr(events, name)[filled] for name in ("pt", "eta", "phi")}
    particles = ak.unflatten(ak.zip(columns), filled.sum(axis=1))
    return {label: observables(particles[events.label == label]) for label in (0, 1)}


@pytest.mark.parametrize("name", list(LHCO_TOLERANCE))
@pytest.mark.parametrize(("sample", "label"), [("qcd", 0), ("wprime", 1)])
def test_kinematics_are_those_of_the_lhc_olympics_events(
    sample: str, label: int, name: str, lhco: dict[int, dict[str, NDArray[np.float64]]], request: pytest.FixtureRequest
) -> None:
    simulated: SimulatedEvents = request.getfixturevalue(sample)
    ours, error = median_and_error(observables(simulated.events.particles)[name])
    real, real_error = median_and_error(lhco[label][name])
    assert abs(ours - real) < LHCO_TOLERANCE[name] * real + 3 * np.hypot(error, real_error)


def test_multi_parton_interactions_add_particles(
    qcd: SimulatedEvents, qcd_mpi: SimulatedEvents, lhco: dict[int, dict[str, NDArray[np.float64]]]
) -> None:
    without, with_mpi = (ak.to_numpy(ak.num(sample.events.particles)) for sample in (qcd, qcd_mpi))
    assert np.median(with_mpi) > 1.15 * np.median(without)
    assert np.median(with_mpi) > 1.15 * np.median(lhco[0]["particles"])


def test_wprime_has_the_masses_that_were_asked_for(wprime: SimulatedEvents) -> None:
    found = observables(wprime.events.particles)
    assert abs(np.median(found["mjj"]) / 3500 - 1) < 0.05
    assert abs(np.median(found["mass_1"]) / 500 - 1) < 0.05
    assert abs(np.median(found["mass_2"]) / 100 - 1) < 0.15


@pytest.mark.parametrize(("sample", "r_inv"), [("semi_visible_3", 0.3), ("semi_visible_6", 0.6)])
def test_invisible_fraction_of_dark_hadrons_is_r_inv(sample: str, r_inv: float, request: pytest.FixtureRequest) -> None:
    record = request.getfixturevalue(sample).record
    total = record["dark_hadrons"]
    assert total > 2000
    assert abs(record["invisible_dark_hadrons"] / total - r_inv) < 3.5 * np.sqrt(r_inv * (1 - r_inv) / total)


def test_nothing_is_invisible_without_r_inv(semi_visible_0: SimulatedEvents) -> None:
    assert semi_visible_0.record["dark_hadrons"] > 2000
    assert semi_visible_0.record["invisible_dark_hadrons"] == 0


def test_visible_dijet_mass_peaks_below_the_mediator_mass(semi_visible_0: SimulatedEvents) -> None:
    mass = dijet(semi_visible_0.events.jets)[0]
    counts, edges = np.histogram(mass, np.arange(0.5, 1.3, 0.1) * SVJ_MASS)
    assert 0.79 < edges[np.argmax(counts)] / SVJ_MASS < 0.91
    assert np.mean(mass > 1.08 * SVJ_MASS) < 0.03


@pytest.mark.parametrize("sample", ["semi_visible_0", "semi_visible_3", "semi_visible_6"])
def test_transverse_mass_ends_at_the_mediator_mass(sample: str, request: pytest.FixtureRequest) -> None:
    mass = transverse_mass(request.getfixturevalue(sample).events)
    assert np.mean(mass > 1.08 * SVJ_MASS) < 0.03
    assert np.max(mass[mass < 1.08 * SVJ_MASS]) > 0.85 * SVJ_MASS


def test_invisible_hadrons_take_mass_and_leave_missing_momentum(
    semi_visible_0: SimulatedEvents, semi_visible_3: SimulatedEvents, semi_visible_6: SimulatedEvents
) -> None:
    samples = (semi_visible_0, semi_visible_3, semi_visible_6)
    masses = [np.median(dijet(sample.events.jets)[0]) for sample in samples]
    met = [np.median(ak.to_numpy(sample.events.met)) for sample in samples]
    assert masses[0] > 1.2 * masses[1] > 1.2 * 1.2 * masses[2]
    assert met[1] > 3 * met[0]
    # what is missing flies along one of the jets
    jets = semi_visible_3.events.jets[:, :2]
    turn = np.abs(jets.phi - semi_visible_3.events.met_phi)
    nearest = ak.min(np.minimum(turn, 2 * np.pi - turn), axis=1)
    hard = semi_visible_3.events.met > 100
    assert np.median(ak.to_numpy(ak.drop_none(nearest[hard]))) < 0.4


def test_weights_sum_to_the_accepted_cross_section(qcd: SimulatedEvents) -> None:
    # 300 of the sample's 1000 events
    total = float(ak.sum(qcd.events.weight))
    assert total == pytest.approx(0.3 * qcd.record["accepted_cross_section_pb"])
    assert qcd.record["accepted_cross_section_pb"] == pytest.approx(
        qcd.record["cross_section_pb"] * qcd.record["accepted_of_tried"] / qcd.record["tried"]
    )
    # leading order, 13 TeV, pT-hat above 1 TeV: about 10 pb
    assert 8 < qcd.record["cross_section_pb"] < 13
