"""Simulated samples that the tests of this folder share (some 10 CPU seconds together)."""

from __future__ import annotations

import pytest

from honeyguide.generate.chunk import SimulatedEvents, simulate
from honeyguide.generate.settings import DetectorSettings, GeneratorSettings, JetSettings, TriggerSettings

SVJ_MASS = 2500.0
# a trigger that is far below the mass, so that it does not shape the edge
SVJ_DETECTOR = DetectorSettings(
    jets=JetSettings(radius=0.8), trigger=TriggerSettings(min_leading_jet_pt=200.0, min_jets=2)
)


@pytest.fixture(scope="session")
def qcd() -> SimulatedEvents:
    return simulate(GeneratorSettings(process="qcd_dijets", events=1000), DetectorSettings(), num_events=300)


@pytest.fixture(scope="session")
def qcd_mpi() -> SimulatedEvents:
    return simulate(GeneratorSettings(process="qcd_dijets", setting="mpi"), DetectorSettings(), num_events=120)


@pytest.fixture(scope="session")
def wprime() -> SimulatedEvents:
    settings = GeneratorSettings(process="wprime_to_qqqq", mass=3500, mass_x=500, mass_y=100)
    return simulate(settings, DetectorSettings(), num_events=300)


def _semi_visible(r_inv: float) -> SimulatedEvents:
    settings = GeneratorSettings(process="semi_visible_jets", mass=SVJ_MASS, r_inv=r_inv)
    return simulate(settings, SVJ_DETECTOR, num_events=250)


@pytest.fixture(scope="session")
def semi_visible_0() -> SimulatedEvents:
    return _semi_visible(0.0)


@pytest.fixture(scope="session")
def semi_visible_3() -> SimulatedEvents:
    return _semi_visible(0.3)


@pytest.fixture(scope="session")
def semi_visible_6() -> SimulatedEvents:
    return _semi_visible(0.6)
