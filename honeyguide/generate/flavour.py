"""True flavour of jets, from the hadrons and partons in their cone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from honeyguide.generate.jets import hadron_flavour
from honeyguide.generate.matching import Axes, hardest, nearest_jets
from honeyguide.generate.pythia import GeneratedParticles

_MIN_HADRON_PT = 5.0  # GeV
_MIN_PARTON_PT = 1e-3  # what flies along the beam is in no jet
_LAST_PARTON_STATUS = (71, 72, 73, 74)  # as they stand right before they become hadrons
CLASSES = ("isB", "isBB", "isC", "isCC", "isUD", "isS", "isG", "isUndefined")


@dataclass(frozen=True)
class Flavour:
    """True flavour of jets, shape (num_jets,) each.

    A hadron or parton belongs to the jet with the nearest axis, within the jets' radius. Hadrons are those that decay
    weakly (no daughter of the same heavy flavour, no quarkonium), with pt above 5 GeV. Partons are those right before
    hadronisation.

    Attributes:
        num_b: Number of b hadrons.
        num_c: Number of c hadrons, those of decays of b hadrons among them.
        hadron: 5 with a b hadron, else 4 with a c hadron, else 0.
        parton: PDG id of the parton with the largest pt, 0 without one.
        heavy_hadron: Index in the batch of the b hadron (without one: of the c hadron) with the largest pt, else -1.
    """

    num_b: NDArray[np.int64]
    num_c: NDArray[np.int64]
    hadron: NDArray[np.int64]
    parton: NDArray[np.int64]
    heavy_hadron: NDArray[np.int64]

    def classes(self) -> dict[str, NDArray[np.bool_]]:
        """Returns which class each jet is of, exactly one of ``CLASSES``.

        One or several b hadrons, else one or several c hadrons, else the parton: ``isUndefined`` without one, or with
        a b or c quark whose hadron is not in the jet.
        """
        quark = np.where(self.hadron == 0, np.abs(self.parton), -1)
        found = {
            "isB": self.num_b == 1,
            "isBB": self.num_b > 1,
            "isC": (self.num_b == 0) & (self.num_c == 1),
            "isCC": (self.num_b == 0) & (self.num_c > 1),
            "isUD": (quark == 1) | (quark == 2),
            "isS": quark == 3,
            "isG": quark == 21,
        }
        return {**found, "isUndefined": ~np.any(list(found.values()), axis=0)}


def match_flavour(jets: Axes, particles: GeneratedParticles, *, radius: float) -> Flavour:
    """Returns the true flavour of the jets; ``particles`` have their history."""
    num_b, b_hadron = _match(jets, particles, weak_hadrons(particles, 5), radius=radius)
    num_c, c_hadron = _match(jets, particles, weak_hadrons(particles, 4), radius=radius)
    _, parton = _match(jets, particles, _last_partons(particles), radius=radius)
    return Flavour(
        num_b=num_b,
        num_c=num_c,
        hadron=np.where(num_b > 0, 5, np.where(num_c > 0, 4, 0)),
        parton=np.where(parton < 0, 0, particles.pdg_id[parton]).astype(np.int64),
        heavy_hadron=np.where(num_b > 0, b_hadron, c_hadron),
    )


def weak_hadrons(particles: GeneratedParticles, flavour: int) -> NDArray[np.int64]:
    """Returns the indices of the hadrons with the flavour (4 or 5) that decay weakly, with pt above 5 GeV."""
    assert particles.history is not None
    flavours = hadron_flavour(particles.pdg_id)
    index = np.flatnonzero(flavours == flavour)
    decays_on = np.zeros(len(flavours), dtype=bool)
    decays_on[particles.offsets[particles.event[index]] + particles.history.mother[index]] = True
    kind = np.abs(particles.pdg_id[index])
    quarkonium = (kind // 100 % 10 == flavour) & (kind // 10 % 10 == flavour) & (kind // 1000 % 10 == 0)
    hard = np.hypot(particles.px[index], particles.py[index]) > _MIN_HADRON_PT
    weak: NDArray[np.int64] = index[~decays_on[index] & ~quarkonium & hard]
    return weak


def _last_partons(particles: GeneratedParticles) -> NDArray[np.int64]:
    assert particles.history is not None
    kind = np.abs(particles.pdg_id)
    coloured = ((kind >= 1) & (kind <= 5)) | (kind == 21)
    last = coloured & np.isin(particles.history.status, _LAST_PARTON_STATUS)
    return np.flatnonzero(last & (np.hypot(particles.px, particles.py) > _MIN_PARTON_PT))


def _match(
    jets: Axes, particles: GeneratedParticles, index: NDArray[np.int64], *, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns how many of the particles of ``index`` belong to each jet, and the hardest one of them, -1 for none."""
    px, py, pz = particles.px[index], particles.py[index], particles.pz[index]
    pt = np.hypot(px, py)
    axes = Axes(particles.event[index], pt, np.arcsinh(pz / pt), np.arctan2(py, px))
    jet = nearest_jets(jets, axes, radius=radius)
    found = hardest(jet, axes, len(jets))
    return np.bincount(jet[jet >= 0], minlength=len(jets)), np.where(found < 0, -1, np.append(index, -1)[found])
