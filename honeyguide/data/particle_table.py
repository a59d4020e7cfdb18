"""Features of particles in a jet that are computed where a config asks for them: names, columns, standardisation.

They are those of JetClass (arXiv:2202.03772) as weaver's data configs define and scale them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ParticleFeatures = Literal["kin", "kinpid", "full"]
Clip = tuple[float, float]


@dataclass(frozen=True)
class ParticleFeature:
    """One computed feature; the model sees clip((value - center) * scale), or the value where there is no scaling.

    Attributes:
        name: Its name.
        column: Column of the particles' collection that it is made of; None for those of the four-momenta.
        bounded: Whether it is the hyperbolic tangent of the column, which bounds it and keeps its sign.
        center, scale: Of its standardisation; scale None for none.
        clip: Smallest and largest scaled value.
    """

    name: str
    column: str | None = None
    bounded: bool = False
    center: float = 0.0
    scale: float | None = None
    clip: Clip = (-5.0, 5.0)


_MOMENTA = (
    ParticleFeature("pt_log", center=1.7, scale=0.7),
    ParticleFeature("e_log", center=2.0, scale=0.7),
    ParticleFeature("logptrel", center=-4.7, scale=0.7),
    ParticleFeature("logerel", center=-4.7, scale=0.7),
    ParticleFeature("deltaR", center=0.2, scale=4.0),
)
_IDENTITY = tuple(
    ParticleFeature(name, name)
    for name in ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
)
_DISPLACEMENT = (
    ParticleFeature("d0", "d0val", bounded=True),
    ParticleFeature("d0err", "d0err", scale=1.0, clip=(0.0, 1.0)),
    ParticleFeature("dz", "dzval", bounded=True),
    ParticleFeature("dzerr", "dzerr", scale=1.0, clip=(0.0, 1.0)),
)
_ANGLES = (ParticleFeature("deta"), ParticleFeature("dphi"))

PARTICLE_FEATURES: dict[ParticleFeatures, tuple[ParticleFeature, ...]] = {
    "kin": (*_MOMENTA, *_ANGLES),
    "kinpid": (*_MOMENTA, *_IDENTITY, *_ANGLES),
    "full": (*_MOMENTA, *_IDENTITY, *_DISPLACEMENT, *_ANGLES),
}
"""The 7, 13 and 17 features in their order."""
