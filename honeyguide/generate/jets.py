"""Jets of the particles that a detector sees, and their b-tags."""

from __future__ import annotations

import awkward as ak
import fastjet
import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.pythia import GeneratedParticles
from honeyguide.generate.settings import BTagSettings, JetSettings

# FastJet's banner would break progress bars; what it asks to cite stands in the record of every chunk
fastjet.ClusterSequenceArea.set_fastjet_banner_stream(None)

_ALGORITHMS = {
    "antikt": fastjet.antikt_algorithm,
    "cambridge_aachen": fastjet.cambridge_algorithm,
    "kt": fastjet.kt_algorithm,
}
_MIN_HADRON_PT = 5.0
_FIRST_EXOTIC_ID = 1_000_000


def cluster(seen: ak.Array, settings: JetSettings) -> ak.Array:
    """Returns the jets: ``num_events * var * {pt, eta, phi, mass, constituents: var * int}``, the largest pt first.

    Args:
        seen: ``num_events * var * {pt, eta, phi}``, massless, GeV; ``constituents`` are indices into it, sorted.
        settings: Algorithm, radius and cuts.
    """
    momenta = ak.zip(
        {
            "px": seen.pt * np.cos(seen.phi),
            "py": seen.pt * np.sin(seen.phi),
            "pz": seen.pt * np.sinh(seen.eta),
            "E": seen.pt * np.cosh(seen.eta),
        },
        with_name="Momentum4D",
    )
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(_ALGORITHMS[settings.algorithm], settings.radius))
    found = sequence.inclusive_jets(min_pt=settings.min_pt)
    px, py, pz, energy = found["px"], found["py"], found["pz"], found["E"]
    pt = np.hypot(px, py)
    jets = ak.zip(
        {
            "pt": pt,
            "eta": np.arcsinh(pz / pt),
            "phi": np.arctan2(py, px),
            "mass": np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0)),
            "constituents": ak.sort(sequence.constituent_index(min_pt=settings.min_pt), axis=2),
        },
        depth_limit=2,
    )
    jets = jets[np.abs(jets.eta) <= settings.max_abs_eta]
    return jets[ak.argsort(jets.pt, axis=1, ascending=False)][:, : settings.max_jets]


def btag(
    jets: ak.Array, particles: GeneratedParticles, *, radius: float, settings: BTagSettings, rng: np.random.Generator
) -> ak.Array:
    """Returns a b-tag (0 or 1) per jet, ``num_events * var * int``, by chance with its flavour's efficiency."""
    flavour = true_flavour(jets, particles, radius=radius)
    counts = ak.to_numpy(ak.num(flavour))
    flat = ak.to_numpy(ak.flatten(flavour))
    efficiency = np.full(len(flat), settings.efficiency_light)
    efficiency[flat == 4] = settings.efficiency_c
    efficiency[flat == 5] = settings.efficiency_b
    return ak.unflatten((rng.random(len(flat)) < efficiency).astype(np.int8), counts)


def true_flavour(jets: ak.Array, particles: GeneratedParticles, *, radius: float) -> ak.Array:
    """Returns the true flavour of each jet: 5 with a B hadron within ``radius``, else 4 with a C hadron, else 0."""
    inside = {flavour: _has_hadron(jets, particles, flavour=flavour, radius=radius) for flavour in (4, 5)}
    return ak.where(inside[5], 5, ak.where(inside[4], 4, 0))


def hadron_flavour(pdg_id: NDArray[np.int32]) -> NDArray[np.int64]:
    """Returns the flavour of the heaviest quark of each hadron (1 to 5), and 0 for what is not a hadron.

    The digits of the PDG number are n_q1, n_q2, n_q3, n_J from the thousands to the units; a diquark has n_q3 = 0.
    """
    kind = np.abs(pdg_id).astype(np.int64)
    first, second, third = kind // 1000 % 10, kind // 100 % 10, kind // 10 % 10
    is_hadron = (kind > 100) & (kind < _FIRST_EXOTIC_ID) & (second > 0) & (third > 0)
    return np.where(is_hadron, np.maximum(first, np.maximum(second, third)), 0)


def _has_hadron(jets: ak.Array, particles: GeneratedParticles, *, flavour: int, radius: float) -> ak.Array:
    keep = hadron_flavour(particles.pdg_id) == flavour
    px, py, pz = particles.px[keep], particles.py[keep], particles.pz[keep]
    pt, event = np.hypot(px, py), particles.event[keep]
    hard = pt > _MIN_HADRON_PT
    hadrons = ak.unflatten(
        ak.zip({"eta": np.arcsinh(pz[hard] / pt[hard]), "phi": np.arctan2(py[hard], px[hard])}),
        np.bincount(event[hard], minlength=len(particles)),
    )
    jet, hadron = ak.unzip(ak.cartesian([jets[["eta", "phi"]], hadrons], axis=1, nested=True))
    turn = np.abs(jet.phi - hadron.phi)
    turn = np.minimum(turn, 2 * np.pi - turn)
    return ak.any(turn**2 + (jet.eta - hadron.eta) ** 2 < radius**2, axis=2)
