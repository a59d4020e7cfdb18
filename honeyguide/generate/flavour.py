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
CLASSES = (
    "isB", "isBB", "isGBB", "isLeptonicB", "isLeptonicB_C", "isC", "isCC", "isGCC", "isUD", "isS", "isG", "isUndefined"
)  # fmt: skip
_NEUTRINOS = (12, 14, 16)
_GLUON, _CHARM, _BOTTOM = 21, 4, 5


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
        from_b: Whether a neutrino that comes straight from a b hadron is in the jet.
        from_c: Whether a neutrino that comes straight from a c hadron is in the jet.
        splits_to_b: Whether a gluon that splits to a pair of b quarks is in the jet.
        splits_to_c: Whether a gluon that splits to a pair of c quarks is in the jet.
    """

    num_b: NDArray[np.int64]
    num_c: NDArray[np.int64]
    hadron: NDArray[np.int64]
    parton: NDArray[np.int64]
    heavy_hadron: NDArray[np.int64]
    from_b: NDArray[np.bool_]
    from_c: NDArray[np.bool_]
    splits_to_b: NDArray[np.bool_]
    splits_to_c: NDArray[np.bool_]

    def classes(self) -> dict[str, NDArray[np.bool_]]:
        """Returns which class each jet is of, exactly one of ``CLASSES``.

        These are the definitions of CMS's DeepNTuples. One b hadron: ``isLeptonicB`` with a neutrino of its decay,
        ``isLeptonicB_C`` with one of a c hadron, else ``isB``. Several: ``isGBB`` if a gluon split to them, else
        ``isBB``. Likewise c hadrons, without leptonic classes, where there is no b hadron. Else the parton:
        ``isUndefined`` without one, or with a b or c quark whose hadron is not in the jet.
        """
        quark = np.where(self.hadron == 0, np.abs(self.parton), -1)
        one_b, more_b = self.num_b == 1, self.num_b > 1
        one_c, more_c = (self.num_b == 0) & (self.num_c == 1), (self.num_b == 0) & (self.num_c > 1)
        found = {
            "isB": one_b & ~self.from_b & ~self.from_c,
            "isBB": more_b & ~self.splits_to_b,
            "isGBB": more_b & self.splits_to_b,
            "isLeptonicB": one_b & self.from_b,
            "isLeptonicB_C": one_b & ~self.from_b & self.from_c,
            "isC": one_c,
            "isCC": more_c & ~self.splits_to_c,
            "isGCC": more_c & self.splits_to_c,
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
    within = {
        name: _match(jets, particles, index, radius=radius)[0] > 0
        for name, index in (
            ("from_b", _neutrinos(particles, _BOTTOM)),
            ("from_c", _neutrinos(particles, _CHARM)),
            ("splits_to_b", _splitting_gluons(particles, _BOTTOM)),
            ("splits_to_c", _splitting_gluons(particles, _CHARM)),
        )
    }
    return Flavour(
        num_b=num_b,
        num_c=num_c,
        hadron=np.where(num_b > 0, 5, np.where(num_c > 0, 4, 0)),
        parton=np.where(parton < 0, 0, particles.pdg_id[parton]).astype(np.int64),
        heavy_hadron=np.where(num_b > 0, b_hadron, c_hadron),
        **within,
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


def _mothers(particles: GeneratedParticles, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the index in the batch of the mother of each particle; without one, that of the event's first entry."""
    assert particles.history is not None
    mothers: NDArray[np.int64] = particles.offsets[particles.event[index]] + particles.history.mother[index]
    return mothers


def _neutrinos(particles: GeneratedParticles, flavour: int) -> NDArray[np.int64]:
    """Returns the indices of the neutrinos whose mother is a hadron with the flavour (4 or 5)."""
    index = np.flatnonzero(np.isin(np.abs(particles.pdg_id), _NEUTRINOS))
    found: NDArray[np.int64] = index[hadron_flavour(particles.pdg_id[_mothers(particles, index)]) == flavour]
    return found


def _splitting_gluons(particles: GeneratedParticles, quark: int) -> NDArray[np.int64]:
    """Returns the indices of the gluons with a quark and an antiquark of this flavour as daughters, but the beams'."""
    parents = []
    for sign in (1, -1):
        mothers = _mothers(particles, np.flatnonzero(particles.pdg_id == sign * quark))
        parents.append(mothers[particles.pdg_id[mothers] == _GLUON])
    index = np.intersect1d(*parents)
    found: NDArray[np.int64] = index[np.hypot(particles.px[index], particles.py[index]) > _MIN_PARTON_PT]
    return found


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
