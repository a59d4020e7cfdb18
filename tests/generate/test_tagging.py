"""Jets for taggers: known answers of their tracks, vertices and flavours, from the written files."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import pythia8mc
import uproot
from numpy.typing import NDArray
from scipy import stats

from honeyguide.generate.chunk import chunk_random, generate_chunk, simulate
from honeyguide.generate.detector import detect
from honeyguide.generate.flavour import CLASSES
from honeyguide.generate.jets import cluster
from honeyguide.generate.pythia import GeneratedParticles, PythiaGenerator
from honeyguide.generate.settings import (
    DetectorSettings,
    GeneratorSettings,
    JetSettings,
    ParticleResponse,
    TrackingSettings,
    TriggerSettings,
)
from honeyguide.generate.tagging import tagging_features, without_late_tracks
from honeyguide.generate.tagging_root import TREE

DETECTOR = DetectorSettings(
    jets=JetSettings(radius=0.4), trigger=TriggerSettings(min_leading_jet_pt=30), tracking=TrackingSettings()
)
PROMPT_ONLY = DETECTOR.model_copy(update={"tracking": TrackingSettings(max_production_radius=1e-6)})
LIGHT = ("isUD", "isS", "isG")
ONE_B = ("isB", "isLeptonicB", "isLeptonicB_C")
FLAVOURS = {5: (*ONE_B, "isBB", "isGBB"), 4: ("isC", "isCC", "isGCC"), 0: LIGHT}


def generator(process: str) -> GeneratorSettings:
    # weighted to have as many jets of hundreds of GeV as of tens
    return GeneratorSettings(process=process, pt_hat_min=25, pt_hat_bias=4)  # type: ignore[arg-type]


def written(folder: Path, process: str, *, detector: DetectorSettings = DETECTOR, **kwargs: int) -> ak.Array:
    """The tree of a chunk."""
    settings = {"num_events": 250, **kwargs}
    generate_chunk(folder, generator=generator(process), detector=detector, formats=("tagging_root",), **settings)
    return uproot.open(folder / "jets.root")[TREE].arrays()


@pytest.fixture(scope="module")
def jets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ak.Array]:
    processes = ("qcd_dijets", "bbbar_dijets", "ccbar_dijets")
    return {process: written(tmp_path_factory.mktemp(process), process) for process in processes}


def of_class(jets: dict[str, ak.Array], *names: str) -> ak.Array:
    """The jets of all samples that are of one of the classes."""
    together = ak.concatenate(list(jets.values()))
    return together[np.any([ak.to_numpy(together[name]) == 1 for name in names], axis=0)]


def flat(column: ak.Array) -> NDArray[np.float64]:
    return ak.to_numpy(ak.flatten(column, axis=None)).astype(np.float64)


@pytest.mark.parametrize(("process", "flavour"), [("bbbar_dijets", 5), ("ccbar_dijets", 4)])
def test_heavy_hadrons_live_as_long_as_they_should(process: str, flavour: int, jets: dict[str, ak.Array]) -> None:
    chosen = jets[process][jets[process].jet_hflav == flavour]
    table = pythia8mc.Pythia("", False).particleData
    kinds = [int(kind) for kind in chosen.jet_heavy_hadron_id]
    mass, life = (np.array([getattr(table, name)(abs(kind)) for kind in kinds]) for name in ("m0", "tau0"))
    proper = flat(chosen.jet_heavy_hadron_flight) * mass / flat(chosen.jet_heavy_hadron_p) / life
    assert len(proper) > 300
    # the fit of an exponential to unbinned values is their mean
    assert abs(proper.mean() - 1) < 4 / np.sqrt(len(proper))
    assert stats.kstest(proper, "expon").pvalue > 1e-3


def test_prompt_tracks_have_the_stated_resolution_and_no_bias(tmp_path: Path) -> None:
    tracks = written(tmp_path, "qcd_dijets", detector=PROMPT_ONLY)
    hadrons = ~np.isin(flat(tracks.jet_pfcand_id), (11, 13))
    for name in ("dxy", "dz"):
        pull = flat(tracks[f"jet_pfcand_{name}sig"])[hadrons]
        assert len(pull) > 2000
        assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
        assert stats.kstest(pull, "norm").pvalue > 1e-3
    pt, eta = flat(tracks.jet_pfcand_pt)[hadrons], flat(tracks.jet_pfcand_eta)[hadrons]
    sigma = (flat(tracks.jet_pfcand_dxy) / flat(tracks.jet_pfcand_dxysig))[hadrons]
    stated = np.hypot(0.010, 0.09 * np.sqrt(np.cosh(eta)) / pt)
    # the measured pt differs from the true one by 1.5 %
    assert np.median(sigma / stated) == pytest.approx(1, abs=0.005)
    assert np.std(np.log(sigma / stated)) < 0.03


def test_more_is_displaced_in_b_than_in_c_than_in_light_jets(jets: dict[str, ak.Array]) -> None:
    classes = [of_class(jets, *ONE_B), of_class(jets, "isC"), of_class(jets, *LIGHT)]
    displaced, with_vertex = [], []
    for chosen in classes:
        num = len(chosen)
        assert num > 300
        second = flat(ak.fill_none(ak.sort(chosen.jet_pfcand_dxysig, ascending=False)[:, 1:2], [0]))
        for values, rates in ((second > 3, displaced), (flat(chosen.njet_sv) > 0, with_vertex)):
            rates.append((values.sum() / num, np.sqrt(values.mean() * (1 - values.mean()) / num)))
    for rates in (displaced, with_vertex):
        for (more, error), (less, other) in pairwise(rates):
            assert more - less > 5 * np.hypot(error, other)
    assert with_vertex[0][0] > 0.75
    assert with_vertex[2][0] < 0.12


def test_lifetime_sign_is_positive_for_b_jets_and_even_for_light_jets(jets: dict[str, ak.Array]) -> None:
    heavy, light = (flat(of_class(jets, *names).jet_pfcand_dxysig) for names in (("isB",), LIGHT))
    # negative ones of tracks between the jet's axis and the hadron's flight
    assert (heavy > 4).sum() > 5 * (heavy < -4).sum()
    prompt = light[np.abs(light) < 2]
    assert abs((prompt > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(prompt))


def test_every_jet_has_one_class_and_it_agrees_with_its_hadrons(jets: dict[str, ak.Array]) -> None:
    together = ak.concatenate(list(jets.values()))
    assert (np.sum([ak.to_numpy(together[name]) for name in CLASSES], axis=0) == 1).all()
    for flavour, names in FLAVOURS.items():
        for name in names:
            assert set(of_class(jets, name).jet_hflav.tolist()) <= {flavour}
    assert sum(map(len, FLAVOURS.values())) == len(CLASSES) - 1
    light = of_class(jets, *LIGHT)
    for name in ("jet_nbhadrons", "jet_nchadrons", "jet_heavy_hadron_id", "jet_heavy_hadron_p"):
        assert not ak.any(light[name])
    assert set(np.abs(of_class(jets, "isG").jet_pflav.tolist())) == {21}
    assert set(np.abs(of_class(jets, "isUD").jet_pflav.tolist())) == {1, 2}


def test_flavours_are_those_of_the_process(jets: dict[str, ak.Array]) -> None:
    share = {
        process: {name: float(ak.mean(sample[sample.jet_index < 2][name])) for name in CLASSES}
        for process, sample in jets.items()
    }
    assert sum(share["bbbar_dijets"][name] for name in ONE_B) > 0.75
    assert share["ccbar_dijets"]["isC"] > 0.75
    qcd = share["qcd_dijets"]
    # leading order at 13 TeV: gluons, then light quarks; heavy ones from g -> qqbar and excitation
    assert qcd["isG"] > qcd["isUD"] > qcd["isC"] + qcd["isCC"] + qcd["isGCC"] > 0
    assert 0 < sum(qcd[name] for name in FLAVOURS[5]) < 0.1
    # several heavy quarks in one jet come from a gluon
    assert qcd["isGBB"] + qcd["isGCC"] > 5 * (qcd["isBB"] + qcd["isCC"])
    assert all(values["isUndefined"] < 0.02 for values in share.values())


def weak_hadrons_by_name(particles: GeneratedParticles, event: int, quark: str) -> list[tuple[float, float]]:
    """Directions of the hadrons with the quark as their heaviest, from the digits of their numbers, one by one."""
    assert particles.history is not None
    start, stop = particles.offsets[event], particles.offsets[event + 1]
    quarks = [f"{abs(int(kind)):05d}"[-4:-1].lstrip("0") for kind in particles.pdg_id[start:stop]]
    heavy = [len(found) > 1 and found[-1] != "0" and max(found) == quark for found in quarks]
    decays_on = {int(particles.history.mother[start + place]) for place in np.flatnonzero(heavy)}
    directions = []
    for place in np.flatnonzero(heavy):
        row = start + place
        pt = np.hypot(particles.px[row], particles.py[row])
        if pt > 5 and place not in decays_on and quarks[place] != 2 * quark:
            eta = float(np.arcsinh(particles.pz[row] / pt))
            directions.append((eta, float(np.arctan2(particles.py[row], particles.px[row]))))
    return directions


def test_flavours_are_those_that_loops_over_all_particles_find() -> None:
    settings = GeneratorSettings(process="bbbar_dijets", pt_hat_min=100)
    particles = PythiaGenerator(settings, seed=3, with_history=True).next_batch(15)
    rng = np.random.default_rng(1)
    seen = detect(particles, DETECTOR, rng)
    found = cluster(seen, DETECTOR.jets)
    assert DETECTOR.tracking is not None
    features = tagging_features(found, seen, particles, jet_settings=DETECTOR.jets, settings=DETECTOR.tracking, rng=rng)
    numbers = np.zeros(2, dtype=int)
    for event in range(15):
        expected = np.zeros((len(found[event]), 2), dtype=int)
        for place, quark in enumerate("54"):
            for eta, phi in weak_hadrons_by_name(particles, event, quark):
                distances = [np.hypot(jet.eta - eta, np.angle(np.exp(1j * (jet.phi - phi)))) for jet in found[event]]
                if distances and min(distances) < 0.4:
                    expected[int(np.argmin(distances)), place] += 1
        assert features[event].jet_nbhadrons.tolist() == expected[:, 0].tolist()
        assert features[event].jet_nchadrons.tolist() == expected[:, 1].tolist()
        numbers += expected.sum(axis=0)
    assert (numbers > 15).all()


def test_leptonic_b_jets_are_as_many_as_b_and_c_hadrons_decay_so(jets: dict[str, ak.Array]) -> None:
    single = of_class(jets, *ONE_B)
    shares = [float(ak.mean(single[name])) for name in ("isLeptonicB", "isLeptonicB_C")]
    # semileptonic branching fractions (PDG): b to e, mu, tau about 11 + 11 + 2.5 %; c to e or mu, averaged over the
    # hadrons, 16 to 20 %, where the b did not; a few neutrinos are outside of the jet
    error = 0.5 / np.sqrt(len(single))
    assert 0.18 - 3 * error < shares[0] < 0.25 + 3 * error
    assert 0.10 - 3 * error < shares[1] < 0.20 + 3 * error
    leptonic = of_class(jets, "isLeptonicB")
    has_lepton = ak.any((leptonic.jet_pfcand_id == 11) | (leptonic.jet_pfcand_id == 13), axis=1)
    assert ak.mean(has_lepton) > 0.6


def test_generated_jet_that_matches_has_the_same_flavour(jets: dict[str, ak.Array]) -> None:
    together = ak.concatenate(list(jets.values()))
    matched = together[together.jet_genmatch_pt > 0]
    assert len(matched) > 0.9 * len(together)
    assert ak.mean(matched.jet_genmatch_hflav == matched.jet_hflav) > 0.97
    without = together[together.jet_genmatch_pt == 0]
    assert not ak.any(without.jet_genmatch_hflav)
    assert not ak.any([together.jet_muflav, together.jet_elflav, together.jet_tauflav])


def test_vertices_measure_flight_and_mass(jets: dict[str, ak.Array]) -> None:
    heavy = of_class(jets, *ONE_B)
    heavy = heavy[heavy.njet_sv > 0]
    ratio = flat(heavy.jet_sv_d3d[:, 0]) / flat(heavy.jet_heavy_hadron_flight)
    # with tracks of the D behind the B vertex
    assert 1.0 < np.median(ratio) < 1.35
    assert 1.5 < np.median(flat(heavy.jet_sv_mass[:, 0])) < 3.5
    assert np.quantile(flat(heavy.jet_sv_mass), 0.99) < 5.4
    assert flat(heavy.jet_sv_d3dsig).min() > 2.9
    light = of_class(jets, *LIGHT)
    pairs = flat(light.jet_sv_mass)[flat(light.jet_sv_ntrack) == 2]
    # K0_S -> pi pi, beside Lambda -> p pi with the proton taken for a pion
    assert len(pairs) > 20
    assert (np.abs(pairs - 0.4976) < 0.02).mean() > 0.6


def test_candidates_add_up_to_the_jet(jets: dict[str, ak.Array]) -> None:
    sample = jets["qcd_dijets"]
    px, py = (
        sum(
            ak.sum(sample[f"{name}_pt"] * angle(sample[f"{name}_phi"]), axis=1)
            for name in ("jet_pfcand", "jet_npfcand")
        )
        for angle in (np.cos, np.sin)
    )
    np.testing.assert_allclose(np.hypot(px, py), sample.jet_pt, rtol=1e-4)
    assert ak.all(sample.njet_pfcand + sample.njet_npfcand == sample.jet_ncand)
    shares = sum(sample[f"jet_{name}"] for name in ("chf", "nhf", "phf", "elf", "muf"))
    np.testing.assert_allclose(shares, 1, rtol=1e-5)
    tracks = ak.sum(sample.jet_pfcand_energy, axis=1) / sample.jet_energy
    np.testing.assert_allclose(tracks, sample.jet_chf + sample.jet_elf + sample.jet_muf, atol=0.05)
    assert set(np.unique(flat(sample.jet_pfcand_charge))) == {-1, 1}
    # species are not measured
    assert set(np.unique(flat(sample.jet_pfcand_id))) == {11, 13, 211}
    assert set(np.unique(flat(sample.jet_npfcand_id))) == {22, 130}
    assert ak.all((sample.jet_npfcand_id == 22) == (sample.jet_npfcand_isgamma == 1))
    for name in sample.fields:
        assert np.isfinite(flat(sample[name])).all(), name


def test_an_exact_detector_measures_the_true_jets() -> None:
    tracker = ParticleResponse(efficiency=1.0, constant=0.0, max_abs_eta=2.5, min_pt=0.0)
    calorimeter = tracker.model_copy(update={"max_abs_eta": 10.0})
    exact = DetectorSettings(
        **dict.fromkeys(("charged_hadrons", "electrons"), tracker),
        muons=calorimeter,
        **dict.fromkeys(("photons", "neutral_hadrons"), calorimeter),
        cell_size=0.0,
        jets=DETECTOR.jets,
        trigger=DETECTOR.trigger,
        tracking=DETECTOR.tracking,
    )
    features = simulate(generator("qcd_dijets"), exact, num_events=20).events.tagging
    np.testing.assert_allclose(flat(features.jet_pt), flat(features.jet_genmatch_pt), rtol=1e-5)


def test_true_pt_is_that_of_the_measured_jet_but_for_the_resolution(jets: dict[str, ak.Array]) -> None:
    hard = jets["qcd_dijets"][jets["qcd_dijets"].jet_pt > 60]
    ratio = flat(hard.jet_pt) / np.maximum(flat(hard.jet_genmatch_pt), 1e-3)
    assert abs(np.median(ratio) - 1) < 0.05
    assert (np.abs(ratio - 1) < 0.3).mean() > 0.97


def test_hadrons_from_far_away_leave_energy_but_no_track() -> None:
    settings = TrackingSettings(max_production_radius=50.0)
    particles = PythiaGenerator(generator("qcd_dijets"), seed=5, with_history=True).next_batch(20)
    assert particles.history is not None
    seen = without_late_tracks(particles, settings)
    late = np.hypot(*particles.history.vertex.T[:2]) > 50
    assert (late & (particles.charge != 0) & particles.is_final).sum() > 20
    assert not seen.charge[late].any()
    np.testing.assert_array_equal(seen.charge[~late], particles.charge[~late])


def test_equal_seeds_give_equal_jets_and_chunks_have_others(tmp_path: Path) -> None:
    chunks = []
    for name, chunk in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        chunks.append(written(tmp_path / name, "bbbar_dijets", num_events=20, chunk=chunk))
    assert ak.array_equal(chunks[0], chunks[1])
    assert not set(chunks[0].event.tolist()) & set(chunks[2].event.tolist())
    assert not set(chunks[0].jet_pt.tolist()) & set(chunks[2].jet_pt.tolist())
    ids = chunks[0].event.to_numpy()
    assert (ids - ids[0]).max() == 19
    assert (np.diff(ids) >= 0).all()
    assert chunks[0].jet_index.tolist() == [place for num in np.bincount(ids - ids[0]) for place in range(num)]


def test_weights_are_those_of_the_events(tmp_path: Path) -> None:
    tree = written(tmp_path, "bbbar_dijets", num_events=20)
    record = json.loads((tmp_path / "generation.json").read_text())
    leading = tree.weight[tree.jet_index == 0]
    assert float(ak.sum(leading)) == pytest.approx(record["sum_of_weights_pb"])


def test_tracking_is_off_by_default_and_leaves_other_samples_as_they_were() -> None:
    wprime = GeneratorSettings(process="wprime_to_qqqq", mass=3500, mass_x=500, mass_y=100)
    # the seed of this sample before there was any tracking: what is stored stays reproducible
    assert chunk_random(wprime, DetectorSettings(), 0)[0] == 45329416
    assert chunk_random(wprime, DETECTOR, 0)[0] != chunk_random(wprime, PROMPT_ONLY, 0)[0]
    assert "tagging" not in simulate(wprime, DetectorSettings(), num_events=2).events.fields
