"""Chunks: reproducible, complete, bounded; the detector's parts, each by what it must do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from honeyguide.errors import ConfigError, DataError
from honeyguide.generate.bead_csv import BEAD_HEADER
from honeyguide.generate.chunk import SimulatedEvents, chunk_random, generate_chunk, simulate
from honeyguide.generate.jets import cluster, hadron_flavour, true_flavour
from honeyguide.generate.pythia import PythiaGenerator
from honeyguide.generate.settings import (
    BTagSettings,
    DetectorSettings,
    GeneratorSettings,
    JetSettings,
    ParticleResponse,
    TriggerSettings,
)
from honeyguide.io.lhco_hdf5 import read_lhco

SVJ = GeneratorSettings(process="semi_visible_jets", mass=1500, r_inv=0)
WPRIME = GeneratorSettings(process="wprime_to_qqqq", mass=3500, mass_x=500, mass_y=100)


def _rows(path: Path) -> list[list[float]]:
    with path.open(newline="") as file:
        assert file.readline().rstrip("\n") == BEAD_HEADER
        return [[float(cell) for cell in row] for row in csv.reader(file)]


def test_csv_holds_the_simulated_events(tmp_path: Path) -> None:
    generate_chunk(tmp_path, generator=WPRIME, detector=DetectorSettings(), num_events=40)
    events = simulate(WPRIME, DetectorSettings(), num_events=40).events
    rows = _rows(tmp_path / "events.csv")
    assert len(rows) == 40
    for row, event in zip(rows, events, strict=True):
        assert row[:3] == pytest.approx([event.weight, event.met, event.met_phi], rel=1e-6)
        assert row[3] == len(event.jets)
        place = 4
        for jet in event.jets:
            assert row[place : place + 2] == [len(jet.constituents), jet.btag]
            inside = event.particles[jet.constituents]
            cells = np.array(row[place + 2 : place + 2 + 4 * len(inside)]).reshape(-1, 4)
            for column, name in enumerate(("pdg_id", "pt", "eta", "phi")):
                np.testing.assert_allclose(cells[:, column], ak.to_numpy(inside[name]), rtol=1e-6, atol=1e-9)
            place += 2 + 4 * len(inside)
        assert place == len(row)


def test_equal_arguments_give_identical_files_and_other_chunks_others(tmp_path: Path) -> None:
    contents = []
    for name, chunk in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        generate_chunk(
            tmp_path / name,
            generator=WPRIME,
            detector=DetectorSettings(),
            num_events=15,
            chunk=chunk,
            formats=("bead_csv", "lhco_hdf5"),
        )
        contents.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert set(contents[0]) == {"events.csv", "events.h5", "generation.json"}
    assert contents[0] == contents[1]
    assert all(contents[0][name] != contents[2][name] for name in contents[0])


def test_seeds_follow_from_settings_and_chunk_but_not_from_the_size() -> None:
    detector = DetectorSettings()
    seeds = {chunk_random(WPRIME, detector, chunk)[0] for chunk in range(500)}
    assert len(seeds) == 500
    assert min(seeds) >= 1
    assert max(seeds) < 900_000_000
    first = chunk_random(WPRIME, detector, 0)[0]
    assert chunk_random(WPRIME.model_copy(update={"events": 77}), detector, 0)[0] == first
    assert chunk_random(WPRIME.model_copy(update={"seed": 2}), detector, 0)[0] != first
    assert chunk_random(WPRIME.model_copy(update={"mass": 3000.0}), detector, 0)[0] != first


def test_olympics_file_holds_all_particles_and_the_label(tmp_path: Path, qcd: SimulatedEvents) -> None:
    record = generate_chunk(
        tmp_path, generator=WPRIME, detector=DetectorSettings(), num_events=20, formats=("lhco_hdf5",)
    )
    events = simulate(WPRIME, DetectorSettings(), num_events=20).events
    stored = read_lhco(tmp_path / "events.h5")
    assert stored.label is not None
    assert stored.label.tolist() == [1] * 20
    assert (stored.pt > 0).sum(axis=1).tolist() == ak.num(events.particles).tolist()
    np.testing.assert_allclose(stored.phi[stored.pt > 0], ak.to_numpy(ak.flatten(events.particles.phi)), rtol=1e-6)
    assert json.loads((tmp_path / "generation.json").read_text()) == record
    assert record["generator"]["mass"] == 3500
    assert qcd.record["label"] == 0


def test_progress_ends_with_the_number_of_events() -> None:
    seen: list[int] = []
    simulate(WPRIME, DetectorSettings(), num_events=25, progress=seen.append)
    assert seen[-1] == 25
    assert seen == sorted(seen)


def test_hopeless_acceptance_is_an_error(tmp_path: Path) -> None:
    generator = GeneratorSettings(process="wprime_to_qqqq", mass=1000, mass_x=200, mass_y=100, min_acceptance=0.05)
    with pytest.raises(DataError, match="hardly any event is accepted") as caught:
        generate_chunk(tmp_path, generator=generator, detector=DetectorSettings(), num_events=10)
    assert "min_leading_jet_pt" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_generator_cut_above_the_trigger_is_an_error() -> None:
    generator = GeneratorSettings(process="qcd_dijets", pt_hat_min=1300)
    with pytest.raises(ConfigError, match="pt_hat_min"):
        simulate(generator, DetectorSettings(), num_events=1)


def test_events_pass_the_trigger_and_jets_the_cuts(qcd: SimulatedEvents) -> None:
    jets = qcd.events.jets
    assert ak.all(jets.pt[:, 0] >= 1200)
    assert ak.all(jets.pt >= 20)
    assert ak.all(abs(jets.eta) <= 2.5)
    assert ak.all(jets.pt[:, 1:] <= jets.pt[:, :-1])
    assert ak.all(abs(jets.phi) <= np.pi)


def test_jets_are_configurable_and_missing_momentum_can_trigger() -> None:
    generator = GeneratorSettings(process="semi_visible_jets", mass=1500, r_inv=0.5)
    detector = DetectorSettings(
        jets=JetSettings(radius=0.4, max_jets=3), trigger=TriggerSettings(min_leading_jet_pt=100, min_met=100)
    )
    events = simulate(generator, detector, num_events=40).events
    assert ak.min(events.met) >= 100
    assert ak.max(ak.num(events.jets)) == 3
    inside = events.particles[ak.flatten(events.jets.constituents, axis=2)]
    # momenta along (phi, eta) of the leading jet: nothing of it is far from its axis
    leading = events.jets[:, 0]
    own = events.particles[leading.constituents]
    turn = np.abs(own.phi - leading.phi)
    distance = np.hypot(np.minimum(turn, 2 * np.pi - turn), own.eta - leading.eta)
    assert ak.max(distance) < 0.8
    assert ak.any(ak.num(inside) < ak.num(events.particles))


def test_a_blind_detector_keeps_events_without_jets(tmp_path: Path) -> None:
    blind = ParticleResponse(efficiency=0.0, constant=0.0, max_abs_eta=5.0)
    classes = ("charged_hadrons", "electrons", "muons", "photons", "neutral_hadrons")
    detector = DetectorSettings(**dict.fromkeys(classes, blind), trigger=TriggerSettings(min_leading_jet_pt=0))
    generate_chunk(tmp_path, generator=WPRIME, detector=detector, num_events=3, formats=("bead_csv", "lhco_hdf5"))
    assert [row[1:] for row in _rows(tmp_path / "events.csv")] == [
        [0.0, row[2], 0.0] for row in _rows(tmp_path / "events.csv")
    ]
    assert (read_lhco(tmp_path / "events.h5").pt == 0).all()


def test_biased_generation_is_undone_by_the_weights() -> None:
    detector = DetectorSettings(trigger=TriggerSettings(min_leading_jet_pt=300))
    plain = GeneratorSettings(process="qcd_dijets", pt_hat_min=240)
    biased = plain.model_copy(update={"pt_hat_bias": 4.0})
    samples = {name: simulate(one, detector, num_events=250) for name, one in (("plain", plain), ("biased", biased))}
    pt = {name: ak.to_numpy(sample.events.jets.pt[:, 0]) for name, sample in samples.items()}
    weights = {name: ak.to_numpy(sample.events.weight) for name, sample in samples.items()}
    assert np.median(pt["biased"]) > 1.3 * np.median(pt["plain"])
    share = {name: weights[name][pt[name] > 400].sum() / weights[name].sum() for name in pt}
    effective = weights["biased"].sum() ** 2 / (weights["biased"] ** 2).sum()
    error = np.sqrt(share["plain"] * (1 - share["plain"]) * (1 / 250 + 1 / effective))
    assert abs(share["plain"] - share["biased"]) < 4 * error
    sums = [sample.record["accepted_cross_section_pb"] for sample in samples.values()]
    assert sums[0] == pytest.approx(sums[1], rel=0.4)


def test_invisible_particles_are_not_seen(semi_visible_6: SimulatedEvents) -> None:
    seen = np.abs(ak.to_numpy(ak.flatten(semi_visible_6.events.particles.pdg_id)))
    assert not np.isin(seen, (12, 14, 16, 51, 53)).any()
    assert seen.max() < 10_000
    assert np.isin((11, 13, 22, 130, 211, 321, 2112, 2212), seen).all()


def test_flavour_of_hadrons_from_their_numbers() -> None:
    # B0, B*+, Lambda_b, Upsilon, D+, J/psi, K0_S, pi+, p, b quark, bd diquark, gluon, electron, excited B, dark pion
    numbers = [511, 523, -5122, 553, 411, 443, 310, 211, 2212, 5, 5101, 21, -11, 10511, 4900111]
    assert hadron_flavour(np.array(numbers, dtype=np.int32)).tolist() == [5, 5, 5, 5, 4, 4, 3, 2, 2, 0, 0, 0, 0, 5, 0]


def test_bjets_have_btags() -> None:
    # with r_inv = 0 and dark pions to b quarks, most jets are b-jets
    generator = SVJ
    rates = {}
    for efficiency in (0.0, 1.0):
        btag = BTagSettings(efficiency_b=efficiency, efficiency_c=0, efficiency_light=0)
        detector = DetectorSettings(btag=btag, trigger=TriggerSettings(min_leading_jet_pt=300))
        rates[efficiency] = ak.mean(simulate(generator, detector, num_events=30).events.jets.btag[:, :2])
    assert rates[0.0] == 0
    assert rates[1.0] > 0.6


def test_true_flavour_looks_across_the_seam_of_phi() -> None:
    # dark pions decay to b quarks: many B hadrons
    particles = PythiaGenerator(SVJ, seed=9).next_batch(100)
    heavy = hadron_flavour(particles.pdg_id) == 5
    pt = np.hypot(particles.px, particles.py)
    eta, phi = np.arcsinh(particles.pz / np.maximum(pt, 1e-9)), np.arctan2(particles.py, particles.px)
    chosen = np.flatnonzero(heavy & (pt > 5) & (np.abs(phi) > 3.0))
    assert len(chosen) > 0
    # a jet just on the other side of +-pi
    event = particles.event[chosen]
    axis = ak.unflatten(
        ak.zip({"eta": eta[chosen], "phi": np.where(phi[chosen] > 0, -3.1, 3.1)}),
        np.bincount(event, minlength=len(particles)),
    )
    assert ak.all(true_flavour(axis, particles, radius=0.5) == 5)
    assert not ak.any(true_flavour(axis, particles, radius=1e-4) == 5)


def test_clustering_finds_two_sprays() -> None:
    rng = np.random.default_rng(2)
    eta = np.concatenate([rng.normal(0.5, 0.05, 20), rng.normal(-1.0, 0.05, 10)])
    phi = np.concatenate([rng.normal(3.14, 0.05, 20), rng.normal(0.0, 0.05, 10)])  # the first lies on the seam
    phi = np.where(phi > np.pi, phi - 2 * np.pi, phi)
    jets = cluster(ak.unflatten(ak.zip({"pt": np.full(30, 10.0), "eta": eta, "phi": phi}), [30]), JetSettings())[0]
    assert [sorted(indices) for indices in jets.constituents.tolist()] == [list(range(20)), list(range(20, 30))]
    assert jets.pt.tolist() == pytest.approx([200, 100], rel=0.01)
    assert abs(abs(jets.phi[0]) - np.pi) < 0.05
    # mass of massless momenta, written out by hand
    energy = 10 * np.cosh(eta[20:]).sum()
    momentum = [(10 * part[20:]).sum() for part in (np.cos(phi), np.sin(phi), np.sinh(eta))]
    assert jets.mass[1] == pytest.approx(np.sqrt(energy**2 - np.square(momentum).sum()), rel=1e-6)
