"""What taggers read of a jet: tracks with impact parameters, neutral candidates, secondary vertices, true flavour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.detector import CHARGED, ELECTRON, MUON, NEUTRAL, PHOTON, TRACKS, visible
from honeyguide.generate.flavour import Flavour, match_flavour
from honeyguide.generate.jets import cluster
from honeyguide.generate.matching import Axes, hardest, nearest_jets
from honeyguide.generate.pythia import GeneratedParticles
from honeyguide.generate.settings import JetSettings, TrackingSettings
from honeyguide.generate.tracking import Perigee, measured, signed_impact, true_perigee, unit_vectors
from honeyguide.generate.vertices import JetTracks, SecondaryVertices, find_vertices

_ALL_JETS = {"min_pt": 5.0, "max_abs_eta": 5.0, "max_jets": 1000}
# a detector tells classes of particles apart, not their species
_PDG_ID = np.array([{CHARGED: 211, ELECTRON: 11, MUON: 13, PHOTON: 22, NEUTRAL: 130}[kind] for kind in range(5)])
CHARGED_CANDIDATES, NEUTRAL_CANDIDATES, VERTICES = "jet_pfcand", "jet_npfcand", "jet_sv"


@dataclass(frozen=True)
class _Jets:
    """Jets, flat: momentum, mass and energy of each."""

    axes: Axes
    mass: NDArray[np.float64]
    energy: NDArray[np.float64]


@dataclass(frozen=True)
class _Candidates:
    """Constituents of the jets, flat: jet, class of response, momentum, generated particle of each."""

    jet: NDArray[np.int64]
    kind: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    source: NDArray[np.int64]

    @property
    def energy(self) -> NDArray[np.float64]:
        """Energy without mass, GeV."""
        return self.pt * np.cosh(self.eta)

    def of_kinds(self, kinds: tuple[int, ...]) -> _Candidates:
        chosen = np.isin(self.kind, kinds)
        return _Candidates(**{name: column[chosen] for name, column in vars(self).items()})


def without_late_tracks(particles: GeneratedParticles, settings: TrackingSettings) -> GeneratedParticles:
    """Returns the particles as the tracker sees them: hadrons produced too far from the beam have no charge."""
    assert particles.history is not None
    vertex = particles.history.vertex
    late = np.hypot(vertex[:, 0], vertex[:, 1]) > settings.max_production_radius
    return replace(particles, charge=np.where(late, 0.0, particles.charge))


def tagging_features(
    jets: ak.Array,
    seen: ak.Array,
    particles: GeneratedParticles,
    *,
    jet_settings: JetSettings,
    settings: TrackingSettings,
    rng: np.random.Generator,
) -> ak.Array:
    """Returns ``num_events * var * {jet_pt, ..., jet_pfcand: var * {...}, jet_npfcand: var * {...}, jet_sv: ...}``.

    The columns are those of ``honeyguide/generate/tagging_root.py``.

    Args:
        jets: Jets as made by ``cluster``.
        seen: What the detector sees, as made by ``detect``.
        particles: The generated particles, with their history.
        jet_settings: How they were made. Hadrons and partons within their radius are matched.
        settings: Field and resolutions.
        rng: Random numbers of the tracker.
    """
    flat = _flat_jets(jets)
    candidates = _flat_candidates(jets, seen)
    charged = candidates.of_kinds(TRACKS)
    perigee = measured(_perigee(charged, particles, settings), rng)
    tracks = JetTracks(charged.jet, charged.source, charged.pt, charged.eta, charged.phi, perigee.sigma_d0)
    found = find_vertices(tracks, particles, min_significance=settings.min_vertex_significance, rng=rng)
    neutral = candidates.of_kinds((PHOTON, NEUTRAL))
    flavour = match_flavour(flat.axes, particles, radius=jet_settings.radius)
    collections = {
        CHARGED_CANDIDATES: (
            charged.jet,
            {
                **_kinematics(charged, flat),
                "charge": particles.charge[charged.source],
                **_track_columns(charged, flat, perigee),
            },
        ),
        NEUTRAL_CANDIDATES: (neutral.jet, {**_kinematics(neutral, flat), "isgamma": neutral.kind == PHOTON}),
        VERTICES: (found.jet, _vertex_columns(found, flat)),
    }
    columns = {
        **_jet_columns(flat, candidates),
        **_genmatch_columns(flat.axes, particles, jet_settings),
        **_truth_columns(flavour, particles),
    }
    for name, (jet, values) in collections.items():
        columns[name] = ak.unflatten(ak.zip(_narrow(values)), np.bincount(jet, minlength=len(flat.axes)))
    return ak.unflatten(ak.zip(_narrow(columns), depth_limit=1), ak.num(jets))


def _flat_jets(jets: ak.Array) -> _Jets:
    pt, eta, phi, mass = (ak.to_numpy(ak.flatten(jets[name])) for name in ("pt", "eta", "phi", "mass"))
    event = np.repeat(np.arange(len(jets)), ak.to_numpy(ak.num(jets)))
    return _Jets(Axes(event, pt, eta, phi), mass, np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2))


def _flat_candidates(jets: ak.Array, seen: ak.Array) -> _Candidates:
    sizes = ak.to_numpy(ak.flatten(ak.num(jets.constituents, axis=2)))
    chosen = ak.flatten(seen[ak.flatten(jets.constituents, axis=2)])
    columns = {name: ak.to_numpy(chosen[name]) for name in ("kind", "pt", "eta", "phi", "source")}
    return _Candidates(jet=np.repeat(np.arange(len(sizes)), sizes), **columns)


def _perigee(charged: _Candidates, particles: GeneratedParticles, settings: TrackingSettings) -> Perigee:
    assert particles.history is not None
    index = charged.source
    momentum = np.stack([particles.px[index], particles.py[index], particles.pz[index]], axis=1)
    return true_perigee(particles.history.vertex[index], momentum, particles.charge[index], settings)


def _kinematics(candidates: _Candidates, jets: _Jets) -> dict[str, NDArray[np.generic]]:
    turn = candidates.phi - jets.axes.phi[candidates.jet]
    return {
        "pt": candidates.pt,
        "eta": candidates.eta,
        "phi": candidates.phi,
        "energy": candidates.energy,
        "pt_log": np.log(candidates.pt),
        "energy_log": np.log(candidates.energy),
        "deta": candidates.eta - jets.axes.eta[candidates.jet],
        "dphi": (turn + np.pi) % (2 * np.pi) - np.pi,
        "id": _PDG_ID[candidates.kind],
    }


def _track_columns(charged: _Candidates, jets: _Jets, perigee: Perigee) -> dict[str, NDArray[np.generic]]:
    eta, phi = jets.axes.eta[charged.jet], jets.axes.phi[charged.jet]
    impact = signed_impact(perigee, eta, phi)
    along = np.einsum("ij,ij->i", unit_vectors(charged.eta, charged.phi), unit_vectors(eta, phi))
    return {
        "dxy": impact.d0,
        "dxysig": impact.d0 / perigee.sigma_d0,
        "dz": impact.z0,
        "dzsig": impact.z0 / perigee.sigma_z0,
        "trackjet_d3d": impact.d3,
        "trackjet_d3dsig": impact.d3 / impact.sigma_d3,
        "trackjet_dist": impact.distance,
        "trackjet_decayL": impact.decay_length,
        "etarel": np.arctanh(np.clip(along, -1 + 1e-6, 1 - 1e-6)),
        "ppara_ratio": along,
        "pperp_ratio": np.sqrt(np.maximum(1 - along**2, 0.0)),
    }


def _vertex_columns(vertices: SecondaryVertices, jets: _Jets) -> dict[str, NDArray[np.generic]]:
    px, py, pz = vertices.momentum.T
    pt = np.hypot(px, py)
    eta, phi = np.arcsinh(pz / pt), np.arctan2(py, px)
    turn = phi - jets.axes.phi[vertices.jet]
    transverse, distance = np.hypot(vertices.position[:, 0], vertices.position[:, 1]), vertices.distance
    product = np.einsum("ij,ij->i", vertices.position, vertices.momentum)
    return {
        "pt": pt,
        "eta": eta,
        "phi": phi,
        "energy": vertices.energy,
        "mass": vertices.mass,
        "pt_log": np.log(pt),
        "deta": eta - jets.axes.eta[vertices.jet],
        "dphi": (turn + np.pi) % (2 * np.pi) - np.pi,
        "ntrack": vertices.num_tracks,
        "dxy": transverse,
        "dxysig": transverse / vertices.sigma_xy,
        "d3d": distance,
        "d3dsig": distance / vertices.sigma,
        "costhetasvpv": product / (distance * np.linalg.norm(vertices.momentum, axis=1)),
        "enratio": vertices.energy / jets.energy[vertices.jet],
    }


def _jet_columns(jets: _Jets, candidates: _Candidates) -> dict[str, NDArray[np.generic]]:
    num_jets = len(jets.axes)
    total = np.bincount(candidates.jet, candidates.energy, num_jets)
    shares = {
        name: np.bincount(candidates.jet, candidates.energy * (candidates.kind == kind), num_jets) / total
        for name, kind in (("chf", CHARGED), ("elf", ELECTRON), ("muf", MUON), ("phf", PHOTON), ("nhf", NEUTRAL))
    }
    return {
        "jet_pt": jets.axes.pt,
        "jet_eta": jets.axes.eta,
        "jet_phi": jets.axes.phi,
        "jet_energy": jets.energy,
        "jet_mass": jets.mass,
        "jet_ncand": np.bincount(candidates.jet, minlength=num_jets),
        **{f"jet_{name}": share for name, share in shares.items()},
    }


def _genmatch_columns(
    axes: Axes, particles: GeneratedParticles, settings: JetSettings
) -> dict[str, NDArray[np.generic]]:
    """Returns pt and flavour of the jet of visible stable particles within half the radius; 0 without one of 5 GeV."""
    found = cluster(visible(particles), settings.model_copy(update=_ALL_JETS))
    event = np.repeat(np.arange(len(found)), ak.to_numpy(ak.num(found)))
    true = Axes(event, *(ak.to_numpy(ak.flatten(found[name])) for name in ("pt", "eta", "phi")))
    match = hardest(nearest_jets(axes, true, radius=settings.radius / 2), true, len(axes))
    flavour = match_flavour(true, particles, radius=settings.radius)
    return {
        "jet_genmatch_pt": np.append(true.pt, 0.0)[match],
        "jet_genmatch_hflav": np.append(flavour.hadron, 0)[match],
        "jet_genmatch_pflav": np.append(flavour.parton, 0)[match],
    }


def _truth_columns(flavour: Flavour, particles: GeneratedParticles) -> dict[str, NDArray[np.generic]]:
    assert particles.history is not None
    heavy = flavour.heavy_hadron
    has = heavy >= 0
    momentum = np.stack([particles.px[heavy], particles.py[heavy], particles.pz[heavy]], axis=1)
    first_daughter = particles.offsets[particles.event[heavy]] + particles.daughter[heavy]
    flight = np.linalg.norm(particles.history.vertex[first_daughter] - particles.history.vertex[heavy], axis=1)
    return {
        "jet_hflav": flavour.hadron,
        "jet_pflav": flavour.parton,
        "jet_nbhadrons": flavour.num_b,
        "jet_nchadrons": flavour.num_c,
        "jet_heavy_hadron_id": np.where(has, particles.pdg_id[heavy], 0),
        "jet_heavy_hadron_p": np.where(has, np.linalg.norm(momentum, axis=1), 0.0),
        "jet_heavy_hadron_flight": np.where(has, flight, 0.0),
        # leptons that come from no hadron: none of the processes has any
        **{f"jet_{lepton}flav": np.zeros(len(heavy), np.int64) for lepton in ("mu", "el", "tau")},
        **flavour.classes(),
    }


def _narrow(columns: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Returns the columns as they are stored: float32, int32; what is nested already as it is."""
    kinds = {"f": np.float32, "i": np.int32, "b": np.int8}
    return {
        name: column.astype(kinds[column.dtype.kind]) if isinstance(column, np.ndarray) else column
        for name, column in columns.items()
    }
