"""Pythia 8 for the settings of a sample, and its events as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from honeyguide.errors import ModelError
from honeyguide.generate.settings import GeneratorSettings

DEFAULT_PT_HAT_MIN = 1000.0
MILLIBARN_IN_PICOBARN = 1e9
DARK_MESONS = (4900111, 4900113, 4900211, 4900213)
_DARK_MATTER = {4900111: 51, 4900211: 51, 4900113: 53, 4900213: 53}
_QUARK_THRESHOLDS = {1: 0.7, 2: 0.7, 3: 1.2, 4: 3.8, 5: 10.6}  # GeV, of the lightest pair of hadrons with the quark

_VARIATIONS: dict[str, tuple[str, ...]] = {
    "no_mpi": ("PartonLevel:MPI = off",),
    "mpi": ("PartonLevel:MPI = on",),
    # the factor multiplies the squared scale: half and twice the scale
    "fsr_up": ("PartonLevel:MPI = off", "TimeShower:renormMultFac = 0.25"),
    "fsr_down": ("PartonLevel:MPI = off", "TimeShower:renormMultFac = 4.0"),
    "hadronisation_soft": ("PartonLevel:MPI = off", "StringZ:aLund = 1.0"),
    "hadronisation_hard": ("PartonLevel:MPI = off", "StringZ:aLund = 0.4"),
    "vincia": ("PartonLevel:MPI = off", "PartonShowers:model = 2"),
}


@dataclass(frozen=True)
class History:
    """Where the particles of a batch come from, flat as ``GeneratedParticles``.

    Attributes:
        status: Pythia's status code without its sign, shape (num_particles,).
        mother: Index of the first mother within the event, 0 for none, shape (num_particles,).
        vertex: Where each particle was produced, in mm, shape (num_particles, 3); the collision is at the origin.
    """

    status: NDArray[np.int64]
    mother: NDArray[np.int64]
    vertex: NDArray[np.float64]


@dataclass(frozen=True)
class GeneratedParticles:
    """All particles of a batch of generated events, flat.

    Attributes:
        offsets: Shape (num_events + 1,); the particles of event i are ``offsets[i]:offsets[i + 1]``.
        weights: Shape (num_events,): weights of the generator (all 1 without a pT-hat bias).
        pdg_id: Shape (num_particles,), int32, and likewise all that follow.
        is_final: Whether the particle is stable.
        charge: Electric charge in units of the positron's.
        px, py, pz: Momentum in GeV.
        daughter: Index of the first daughter within the event, 0 for none.
        history: Mothers and vertices, where the generator was asked for them.
    """

    offsets: NDArray[np.int64]
    weights: NDArray[np.float64]
    pdg_id: NDArray[np.int32]
    is_final: NDArray[np.bool_]
    charge: NDArray[np.float64]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    daughter: NDArray[np.int64]
    history: History | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def event(self) -> NDArray[np.int64]:
        """Index of the event of each particle, shape (num_particles,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


class PythiaGenerator:
    """Pythia 8, initialised for a sample.

    Args:
        settings: The sample.
        seed: Pythia's own seed, 1 to 899,999,999.
        with_history: Whether mothers and vertices are wanted.

    Raises:
        ModelError: Pythia does not accept the settings.
    """

    def __init__(self, settings: GeneratorSettings, *, seed: int, with_history: bool = False) -> None:
        self._with_history = with_history
        self._pythia = pythia8mc.Pythia("", False)
        for command in pythia_commands(settings, seed=seed):
            if not self._pythia.readString(command):
                raise ModelError("Pythia does not know this command", got=command, where=settings.process)
        if not self._pythia.init():
            raise ModelError("Pythia can't be initialised for this sample", where=settings.model_dump(mode="json"))

    def next_batch(self, num_events: int) -> GeneratedParticles:
        """Returns the next ``num_events`` generated events (rarely fewer: Pythia skips what it can't complete).

        Raises:
            ModelError: Pythia could not complete any.
        """
        batch = self._pythia.nextBatch(num_events)
        if len(batch) == 0:
            raise ModelError("Pythia could not complete a single event of a batch", got=f"{num_events} attempts")
        particles = batch.prt
        offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(particles.id)))]).astype(np.int64)
        flat = ak.flatten(particles)
        pdg_id = ak.to_numpy(flat.id)
        return GeneratedParticles(
            offsets=offsets,
            weights=ak.to_numpy(ak.firsts(batch.info.weights)).astype(np.float64),
            pdg_id=pdg_id,
            is_final=ak.to_numpy(flat.status) > 0,
            charge=self._charges(pdg_id),
            px=ak.to_numpy(flat.p.px),
            py=ak.to_numpy(flat.p.py),
            pz=ak.to_numpy(flat.p.pz),
            daughter=ak.to_numpy(flat.daughter1).astype(np.int64),
            history=_history(flat) if self._with_history else None,
        )

    @property
    def cross_section(self) -> tuple[float, float]:
        """Cross section of the process as estimated so far, and its statistical error, in pb."""
        info = self._pythia.infoPython()
        return info.sigmaGen() * MILLIBARN_IN_PICOBARN, info.sigmaErr() * MILLIBARN_IN_PICOBARN

    @property
    def version(self) -> str:
        """Version of Pythia."""
        return f"{self._pythia.parm('Pythia:versionNumber'):.3f}"

    def _charges(self, pdg_id: NDArray[np.int32]) -> NDArray[np.float64]:
        kinds, inverse = np.unique(pdg_id, return_inverse=True)
        charges = np.array([self._pythia.particleData.charge(int(kind)) for kind in kinds])
        return charges[inverse]


def _history(flat: ak.Array) -> History:
    vertex = [ak.to_numpy(ak.fill_none(flat.vProd[axis], 0.0)) for axis in ("px", "py", "pz")]
    return History(
        status=np.abs(ak.to_numpy(flat.status)).astype(np.int64),
        mother=ak.to_numpy(flat.mother1).astype(np.int64),
        vertex=np.stack(vertex, axis=1),
    )


def pythia_commands(settings: GeneratorSettings, *, seed: int) -> list[str]:
    """Returns the commands that set Pythia up for a sample."""
    commands = [
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        f"Beams:eCM = {settings.sqrt_s}",
        *_VARIATIONS[settings.setting],
    ]
    process = {
        "qcd_dijets": _qcd_dijets,
        "bbbar_dijets": _qcd_dijets,
        "ccbar_dijets": _qcd_dijets,
        "semi_visible_jets": _semi_visible_jets,
        "wprime_to_qqqq": _wprime_to_qqqq,
    }[settings.process]
    return commands + process(settings)


def _qcd_dijets(settings: GeneratorSettings) -> list[str]:
    threshold = settings.pt_hat_min or DEFAULT_PT_HAT_MIN
    processes = {"qcd_dijets": "all", "bbbar_dijets": "hardbbbar", "ccbar_dijets": "hardccbar"}
    commands = [f"HardQCD:{processes[settings.process]} = on", f"PhaseSpace:pTHatMin = {threshold}"]
    if settings.pt_hat_bias is not None:
        commands += [
            "PhaseSpace:bias2Selection = on",
            f"PhaseSpace:bias2SelectionPow = {settings.pt_hat_bias}",
            f"PhaseSpace:bias2SelectionRef = {threshold}",
        ]
    return commands


def _semi_visible_jets(settings: GeneratorSettings) -> list[str]:
    """Returns the commands for Z' -> dark quarks: SU(2), two flavours, running dark coupling (arXiv:1707.05326)."""
    assert settings.mass is not None
    assert settings.r_inv is not None
    dark, scale = settings.mass_dark, settings.mass_dark / 2
    commands = [
        "HiddenValley:ffbar2Zv = on",
        "HiddenValley:Ngauge = 2",
        "HiddenValley:nFlav = 2",
        "HiddenValley:FSR = on",
        "HiddenValley:fragment = on",
        "HiddenValley:alphaOrder = 1",
        "HiddenValley:setLambda = on",
        f"HiddenValley:Lambda = {scale}",
        f"HiddenValley:pTminFSR = {1.1 * scale}",
        "HiddenValley:probVector = 0.75",
        f"4900023:m0 = {settings.mass}",
        f"4900023:mWidth = {settings.width * settings.mass}",
        f"4900023:mMin = {0.5 * settings.mass}",
        "4900023:doForceWidth = on",
        "4900023:onMode = off",
        "4900023:onIfAny = 4900101",
        f"4900101:m0 = {dark / 2}",
        f"51:m0 = {0.499 * dark}",
        f"53:m0 = {0.499 * dark}",
    ]
    for meson in DARK_MESONS:
        commands += _dark_meson(meson, mass=dark, r_inv=settings.r_inv)
    return commands


def _dark_meson(meson: int, *, mass: float, r_inv: float) -> list[str]:
    """Returns the commands for the decay of a dark meson: invisible with probability ``r_inv``, else to quarks.

    A spin-1 meson decays to all quarks alike, a spin-0 meson, by its helicity suppression, to the heaviest.
    """
    quarks = [quark for quark, threshold in _QUARK_THRESHOLDS.items() if threshold < mass]
    if _DARK_MATTER[meson] == 51:
        quarks = quarks[-1:]
    commands = [
        f"{meson}:m0 = {mass}",
        f"{meson}:oneChannel = 1 {r_inv} 0 {_DARK_MATTER[meson]} -{_DARK_MATTER[meson]}",
    ]
    visible = (1 - r_inv) / len(quarks)
    return commands + [f"{meson}:addChannel = 1 {visible} 91 {quark} -{quark}" for quark in quarks]


def _wprime_to_qqqq(settings: GeneratorSettings) -> list[str]:
    assert settings.mass is not None
    commands = [
        "NewGaugeBoson:ffbar2Wprime = on",
        "Wprime:coup2WZ = 1.0",
        f"34:m0 = {settings.mass}",
        f"34:mMin = {0.5 * settings.mass}",
        "34:onMode = off",
        "34:onIfAll = 24 23",
        "24:onMode = off",
        "24:onIfAny = 1 3",
        "23:onMode = off",
        "23:onIfAny = 1 2 3 4 5",
    ]
    for boson, mass in ((24, settings.mass_x), (23, settings.mass_y)):
        assert mass is not None
        # a width far below the detector's resolution, so that the masses are those that were asked for
        commands += [f"{boson}:m0 = {mass}", f"{boson}:mWidth = {0.01 * mass}", f"{boson}:doForceWidth = on"]
        commands += [f"{boson}:mMin = {0.8 * mass}", f"{boson}:mMax = {1.2 * mass}"]
    return commands
