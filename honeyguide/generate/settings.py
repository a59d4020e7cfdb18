"""Settings of simulated events: the process, the generator's setting, and the parametric detector."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from honeyguide.settings import Settings

Process = Literal["qcd_dijets", "bbbar_dijets", "ccbar_dijets", "semi_visible_jets", "wprime_to_qqqq"]
GeneratorVariation = Literal[
    "no_mpi", "mpi", "fsr_up", "fsr_down", "hadronisation_soft", "hadronisation_hard", "vincia"
]
EventFormat = Literal["bead_csv", "lhco_hdf5", "tagging_root"]

QCD_PROCESSES = ("qcd_dijets", "bbbar_dijets", "ccbar_dijets")

_SIGNAL_PARAMETERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(QCD_PROCESSES, ()),
    "semi_visible_jets": ("mass", "r_inv"),
    "wprime_to_qqqq": ("mass", "mass_x", "mass_y"),
}


class GeneratorSettings(Settings):
    """One simulated sample: what Pythia 8 generates, how, and how many events of it are kept."""

    process: Process
    """Hard process: ``qcd_dijets`` (all 2 -> 2 QCD processes), ``bbbar_dijets`` and ``ccbar_dijets`` (of these, those
    to a pair of bottom or charm quarks, with their masses), ``semi_visible_jets`` (q qbar -> Z' -> dark quarks,
    Hidden Valley shower and hadronisation; arXiv:1503.00009, 1707.05326) or ``wprime_to_qqqq`` (W' -> X Y -> 4 quarks,
    made as W' -> W Z with the masses of W and Z moved to those of X and Y)."""

    setting: GeneratorVariation = "no_mpi"
    """Setting of the generator, one of several that stand for several generators. All are Pythia 8 with its default
    (Monash) tune; ``no_mpi`` has no multi-parton interactions, as the LHC Olympics events, and the others start from
    it: ``mpi`` (with multi-parton interactions: many more soft particles, the largest change), ``fsr_up`` and
    ``fsr_down`` (renormalisation scale of the final-state shower halved and doubled), ``hadronisation_soft`` and
    ``hadronisation_hard`` (aLund of the string fragmentation 1.0 and 0.4; hardly visible) and ``vincia`` (the Vincia
    antenna shower; little difference, about 9 times the time)."""

    events: int = Field(default=10_000, gt=0)
    """Number of accepted events of the whole sample. Weights are such that they sum to the accepted cross section."""

    seed: int = Field(default=1, ge=0)
    """Seed of the sample. The random numbers of each chunk follow from it, the chunk's index and these settings."""

    sqrt_s: float = Field(default=13_000.0, gt=0)
    """Energy of the proton-proton collisions in their rest frame, in GeV."""

    pt_hat_min: float | None = Field(default=None, gt=0)
    """Smallest transverse momentum of the hard 2 -> 2 process in GeV, QCD only (default 1000). A value near the
    trigger's threshold saves time and biases the sample: with a leading jet above 1200 GeV, some 13 % of the accepted
    events of ``mpi`` have less than 1000."""

    pt_hat_bias: float | None = Field(default=None, gt=0)
    """QCD only: events are generated with a probability proportional to pT-hat to this power, and weights undo it.
    None: unweighted events."""

    mass: float | None = Field(default=None, gt=0)
    """Mass of the Z' or W' in GeV, signals only."""

    width: float = Field(default=0.01, gt=0, lt=0.5)
    """Width of the Z' divided by its mass (semi-visible jets; the W' has the width that Pythia calculates)."""

    r_inv: float | None = Field(default=None, ge=0, le=1)
    """Fraction of the dark hadrons that are invisible (semi-visible jets only)."""

    mass_dark: float = Field(default=20.0, ge=4.0)
    """Mass of the dark mesons in GeV (semi-visible jets). The dark confinement scale is half of it."""

    mass_x: float | None = Field(default=None, gt=0)
    """Mass of X in GeV (``wprime_to_qqqq`` only); 500 in the LHC Olympics R&D data."""

    mass_y: float | None = Field(default=None, gt=0)
    """Mass of Y in GeV (``wprime_to_qqqq`` only); 100 in the LHC Olympics R&D data."""

    min_acceptance: float = Field(default=1e-3, gt=0, lt=1)
    """Generation stops with an error where clearly fewer than this fraction of the generated events are accepted."""

    @model_validator(mode="after")
    def _check(self) -> GeneratorSettings:
        wanted = _SIGNAL_PARAMETERS[self.process]
        for name in ("mass", "r_inv", "mass_x", "mass_y"):
            if name in wanted and getattr(self, name) is None:
                raise ValueError(f"process {self.process} needs {name}")
            if name not in wanted and getattr(self, name) is not None:
                raise ValueError(f"process {self.process} has no {name}; leave it out")
        if self.process not in QCD_PROCESSES and (self.pt_hat_min is not None or self.pt_hat_bias is not None):
            raise ValueError(f"pt_hat_min and pt_hat_bias are for QCD dijets, not for {self.process}")
        if self.process == "semi_visible_jets" and self.setting == "vincia":
            raise ValueError("semi_visible_jets can't be made with setting vincia: Vincia has no Hidden Valley shower")
        self._check_masses()
        return self

    def _check_masses(self) -> None:
        if self.mass is None:
            return
        if self.mass >= self.sqrt_s:
            raise ValueError(f"mass {self.mass:g} is not below sqrt_s {self.sqrt_s:g}")
        daughters = (self.mass_x or 0.0) + (self.mass_y or 0.0)
        if self.process == "semi_visible_jets":
            daughters = 4 * self.mass_dark
        if self.mass <= daughters:
            raise ValueError(f"mass {self.mass:g} is too small to decay: it must be above {daughters:g} GeV")

    @property
    def is_signal(self) -> bool:
        """Whether the process is a signal (label 1) rather than background (label 0)."""
        return self.process not in QCD_PROCESSES

    @property
    def signal_point(self) -> dict[str, float] | None:
        """The parameters of the signal, None for background."""
        return {name: float(getattr(self, name)) for name in _SIGNAL_PARAMETERS[self.process]} or None


class ParticleResponse(Settings):
    """How the detector sees one class of particles; relative resolution sqrt(a^2 + b^2/E + c^2 pt^2), in GeV.

    Charged hadrons and electrons that are not found as tracks are seen by the calorimeter, as neutral hadrons and
    photons.
    """

    efficiency: float = Field(ge=0, le=1)
    """Probability that a particle within the acceptance is seen."""

    constant: float = Field(ge=0)
    """a, the constant term."""

    stochastic: float = Field(default=0.0, ge=0)
    """b, the stochastic term of a calorimeter, in sqrt(GeV)."""

    slope: float = Field(default=0.0, ge=0)
    """c, the term of a tracker that grows with pt, in 1/GeV."""

    max_abs_eta: float = Field(gt=0)
    """Acceptance in |eta|."""

    min_pt: float = Field(default=0.5, ge=0)
    """Tracks and calorimeter cells below this measured transverse momentum in GeV are dropped."""


class JetSettings(Settings):
    """How jets are built from the particles that the detector sees."""

    algorithm: Literal["antikt", "cambridge_aachen", "kt"] = "antikt"
    """Sequential recombination algorithm (anti-kT: arXiv:0802.1189)."""

    radius: float = Field(default=1.0, gt=0)
    """Radius parameter."""

    min_pt: float = Field(default=20.0, gt=0)
    """Jets below this transverse momentum in GeV are dropped."""

    max_abs_eta: float = Field(default=2.5, gt=0)
    """Jets beyond this |eta| are dropped."""

    max_jets: int = Field(default=10, gt=0)
    """At most this many jets are kept, those of the largest pt."""


class TriggerSettings(Settings):
    """Which events are kept."""

    min_leading_jet_pt: float = Field(default=1200.0, ge=0)
    """Smallest transverse momentum of the leading jet in GeV (0: no condition, and events without jets
    are kept)."""

    min_jets: int = Field(default=0, ge=0)
    """Smallest number of jets."""

    min_met: float = Field(default=0.0, ge=0)
    """Smallest missing transverse momentum in GeV."""


class BTagSettings(Settings):
    """Probability of a b-tag by the true flavour of the jet (hadron of the flavour above 5 GeV within the radius)."""

    efficiency_b: float = Field(default=0.7, ge=0, le=1)
    """For jets with a B hadron."""

    efficiency_c: float = Field(default=0.15, ge=0, le=1)
    """For jets with a C hadron and no B hadron."""

    efficiency_light: float = Field(default=0.01, ge=0, le=1)
    """For all other jets."""


class TrackingSettings(Settings):
    """How displaced tracks and vertices are measured; the primary vertex is known exactly, there is no pile-up.

    Errors of impact parameters are Gaussian, the sum in quadrature of the tracker's own resolution and of multiple
    scattering before its first layer: sigma(d0)^2 = a^2 + (b / (p sin(theta)^(3/2)))^2, and
    sigma(z0)^2 = a^2 + (b / (p sin(theta)^(5/2)))^2. The constants are those of 100 GeV muons in the CMS tracker
    (arXiv:1405.6569); the scattering terms make 0.09 and 0.15 mm at 1 GeV, typical of a silicon tracker.
    """

    magnetic_field: float = Field(default=3.8, gt=0)
    """Magnetic field along the beam, in T."""

    d0_constant: float = Field(default=0.010, gt=0)
    """a of the transverse impact parameter, in mm."""

    d0_scattering: float = Field(default=0.09, ge=0)
    """b of the transverse impact parameter, in mm GeV."""

    z0_constant: float = Field(default=0.030, gt=0)
    """a of the longitudinal impact parameter, in mm."""

    z0_scattering: float = Field(default=0.15, ge=0)
    """b of the longitudinal impact parameter, in mm GeV."""

    max_production_radius: float = Field(default=100.0, gt=0)
    """Charged hadrons that are produced farther than this from the beam, in mm, leave energy but no track."""

    min_vertex_significance: float = Field(default=3.0, ge=0)
    """Secondary vertices with a smaller flight distance, in units of its error, are not found."""


class DetectorSettings(Settings):
    """A parametric detector, jets and a trigger; the defaults give events like those of the LHC Olympics 2020 R&D set.

    A particle is seen with the efficiency of its class, its momentum is smeared (log-normal), its direction is exact.
    Neutral particles in one calorimeter cell are seen as one. Neutrinos and dark matter are invisible. The missing
    transverse momentum is minus the vectorial sum of all that is seen.

    Measured against the public LHC Olympics events (QCD, medians): numbers of particles per event and in the leading
    jets, jet masses and dijet mass; see ``tests/generate``.
    """

    charged_hadrons: ParticleResponse = ParticleResponse(
        efficiency=0.95, constant=0.015, slope=5e-4, max_abs_eta=2.5, min_pt=0.6
    )
    """Response of the tracker to charged hadrons."""

    electrons: ParticleResponse = ParticleResponse(efficiency=0.95, constant=0.01, stochastic=0.05, max_abs_eta=2.5)
    """Response to electrons."""

    muons: ParticleResponse = ParticleResponse(efficiency=0.97, constant=0.01, slope=1e-4, max_abs_eta=2.5)
    """Response to muons."""

    photons: ParticleResponse = ParticleResponse(
        efficiency=1.0, constant=0.007, stochastic=0.07, max_abs_eta=5.0, min_pt=0.6
    )
    """Response of the electromagnetic calorimeter to photons."""

    neutral_hadrons: ParticleResponse = ParticleResponse(
        efficiency=1.0, constant=0.05, stochastic=1.0, max_abs_eta=5.0, min_pt=1.0
    )
    """Response of the hadronic calorimeter to neutral hadrons."""

    cell_size: float = Field(default=0.025, ge=0)
    """Width of a calorimeter cell in eta and phi; photons in one cell are seen as one, and so are neutral hadrons.
    0: every particle is seen by itself."""

    jets: JetSettings = JetSettings()
    """Jets."""

    trigger: TriggerSettings = TriggerSettings()
    """Trigger."""

    btag: BTagSettings = BTagSettings()
    """b-tagging."""

    tracking: TrackingSettings | None = None
    """Displaced tracks and vertices. ``{}`` takes the defaults, and the jets with their tracks, neutral candidates,
    vertices and true flavour are written as a flat ROOT tree, too; null: none of it is simulated."""

    @model_validator(mode="before")
    @classmethod
    def _complete_responses(cls, values: Any) -> Any:
        """Returns the values with the default terms where only some terms of a class of particles are given."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, ParticleResponse) and isinstance(values.get(name), dict):
                values[name] = {**field.default.model_dump(), **values[name]}
        return values
