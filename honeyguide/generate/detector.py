"""A parametric detector: which particles are seen, and with what momentum."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.pythia import GeneratedParticles
from honeyguide.generate.settings import DetectorSettings, ParticleResponse

_INVISIBLE = (12, 14, 16, 18, 51, 52, 53, 1000022)
_FIRST_HIDDEN_VALLEY_ID = 4_900_000
_MIN_PT = 1e-3  # GeV; what flies along the beam is out of any acceptance
_CLASSES = ("charged_hadrons", "electrons", "muons", "photons", "neutral_hadrons")
CHARGED, ELECTRON, MUON, PHOTON, NEUTRAL = range(5)
TRACKS = (CHARGED, ELECTRON, MUON)


@dataclass(frozen=True)
class _Signals:
    """What reaches the detector, flat: event, response class, PDG id, pt, eta, phi, generated particle of each."""

    event: NDArray[np.int64]
    kind: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    source: NDArray[np.int64]

    def take(self, index: NDArray[np.generic]) -> _Signals:
        return _Signals(*(getattr(self, column.name)[index] for column in fields(self)))


def detect(particles: GeneratedParticles, settings: DetectorSettings, rng: np.random.Generator) -> ak.Array:
    """Returns what the detector sees, massless, the largest pt first.

    ``num_events * var * {pdg_id, pt, eta, phi, kind, source}``: energies in GeV, phi in (-pi, pi], ``kind`` the class
    of response (``CHARGED``, ...), ``source`` the index of the generated particle in the batch. A calorimeter cell
    carries PDG id, direction and source of its hardest particle.
    """
    signals = _merge_cells(_reach(_visible(particles), settings, rng), settings.cell_size)
    pt = _smear(signals, settings, rng)
    seen = pt >= _of_class(settings, "min_pt")[signals.kind]
    event, pt = signals.event[seen], pt[seen]
    order = np.lexsort((-pt, event))
    flat = ak.zip(
        {
            "pdg_id": signals.pdg_id[seen][order],
            "pt": pt[order],
            "eta": signals.eta[seen][order],
            "phi": signals.phi[seen][order],
            "kind": signals.kind[seen][order].astype(np.int8),
            "source": signals.source[seen][order],
        }
    )
    return ak.unflatten(flat, np.bincount(event, minlength=len(particles)))


def visible(particles: GeneratedParticles) -> ak.Array:
    """Returns the stable particles that a perfect detector sees, ``num_events * var * {pt, eta, phi}``."""
    signals = _visible(particles)
    flat = ak.zip({"pt": signals.pt, "eta": signals.eta, "phi": signals.phi})
    return ak.unflatten(flat, np.bincount(signals.event, minlength=len(particles)))


def missing_momentum(seen: ak.Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns each event's missing transverse momentum in GeV and its azimuth: minus the sum of all that is seen."""
    px = -ak.to_numpy(ak.sum(seen.pt * np.cos(seen.phi), axis=1))
    py = -ak.to_numpy(ak.sum(seen.pt * np.sin(seen.phi), axis=1))
    return np.hypot(px, py), np.arctan2(py, px)


def _visible(particles: GeneratedParticles) -> _Signals:
    kind = np.abs(particles.pdg_id)
    keep = particles.is_final & ~np.isin(kind, _INVISIBLE) & (kind < _FIRST_HIDDEN_VALLEY_ID)
    keep &= np.hypot(particles.px, particles.py) > _MIN_PT
    kind, charge = kind[keep], particles.charge[keep]
    px, py = particles.px[keep], particles.py[keep]
    pt = np.hypot(px, py)
    eta = np.arcsinh(particles.pz[keep] / pt)
    classes = np.where(charge != 0, CHARGED, NEUTRAL)
    for pdg_id, name in ((11, ELECTRON), (13, MUON), (22, PHOTON)):
        classes[kind == pdg_id] = name
    phi, source = np.arctan2(py, px), np.flatnonzero(keep)
    return _Signals(particles.event[keep], classes, particles.pdg_id[keep], pt, eta, phi, source)


def _reach(signals: _Signals, settings: DetectorSettings, rng: np.random.Generator) -> _Signals:
    """Returns the signals that are registered. A track that is not found still leaves its energy in the calorimeter."""
    acceptance, efficiency = _of_class(settings, "max_abs_eta"), _of_class(settings, "efficiency")
    kind = signals.kind.copy()
    lost = (np.abs(signals.eta) > acceptance[kind]) | (rng.random(len(kind)) >= efficiency[kind])
    for track, cell in ((CHARGED, NEUTRAL), (ELECTRON, PHOTON)):
        fallen = lost & (kind == track)
        kind[fallen] = cell
        lost[fallen] = np.abs(signals.eta[fallen]) > acceptance[cell]
        lost[fallen] |= rng.random(np.count_nonzero(fallen)) >= efficiency[cell]
    return replace(signals, kind=kind).take(~lost)


def _merge_cells(signals: _Signals, cell_size: float) -> _Signals:
    """Returns the signals with those of one calorimeter cell added up."""
    if cell_size == 0 or len(signals.pt) == 0:
        return signals
    row = np.floor(signals.eta / cell_size).astype(np.int64)
    column = np.floor(signals.phi / cell_size).astype(np.int64)
    tracks = np.isin(signals.kind, TRACKS)
    row[tracks] = np.arange(len(row))[tracks]  # a track is a cell of its own
    order = np.lexsort((-signals.pt, column, row, signals.kind, signals.event))
    keys = np.stack([signals.event, signals.kind, row, column])[:, order]
    starts = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)]))
    hardest = signals.take(order[starts])
    pt = np.add.reduceat(signals.pt[order], starts)
    return replace(hardest, pt=pt)


def _smear(signals: _Signals, settings: DetectorSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the measured pt: log-normal about the true one, so that it is positive at any resolution."""
    names = ("constant", "stochastic", "slope")
    constant, stochastic, slope = (_of_class(settings, name)[signals.kind] for name in names)
    energy = signals.pt * np.cosh(signals.eta)
    variance = np.log1p(constant**2 + stochastic**2 / energy + (slope * signals.pt) ** 2)
    smeared: NDArray[np.float64] = signals.pt * np.exp(
        np.sqrt(variance) * rng.standard_normal(len(energy)) - variance / 2
    )
    return smeared


def _of_class(settings: DetectorSettings, name: str) -> NDArray[np.float64]:
    responses: list[ParticleResponse] = [getattr(settings, kind) for kind in _CLASSES]
    return np.array([getattr(response, name) for response in responses])
