"""Settings of preprocessing: which objects and features a model sees, how they are scaled, which events train."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from honeyguide.data.features import FEATURES, Feature
from honeyguide.data.particle_table import PARTICLE_FEATURES, ParticleFeature, ParticleFeatures
from honeyguide.data.reweighting_settings import ReweightingSettings
from honeyguide.errors import nearest_name
from honeyguide.settings import Settings, insignificant

LINEAR_SCALERS = ("minmax", "standard", "robust", "l2", "maxabs", "percentile", "affine")
SHAPE_SCALERS = ("log", "power", "quantile")
LONE_SCALERS = ("sincos", "onehot", "none")
SCALERS = LINEAR_SCALERS + SHAPE_SCALERS + LONE_SCALERS
"""All scaler names. Those of the last group stand alone; the others may be chained by ``+``."""

COLLECTIONS = {"event": "events", "jet": "jets", "constituent": "constituents"}
"""The collection of the event store whose members are the objects at each level."""

_JET = "jet_"
Number = Annotated[float, Field(allow_inf_nan=False)]
Clip = tuple[Number, Number]
_SET_NAME = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
_TELLING = frozenset({"id", "group", "truth", "label", "process", "generator", "signal_point"})
"""Columns of a row that no model may see."""
SET_NAMES_TAKEN = (
    frozenset({"objects", "mask", "event", "event_id", "weight", "pt", "eta", "targets", "observers"}) | _TELLING
)
_ROW_FIELDS = (
    *("sets", "pt_column", "eta_column", "phi_column", "energy_column"),
    *("targets", "observers", "reweighting"),
)


class FeatureSetting(Settings):
    """One feature and its scaling."""

    name: str
    """Name in the feature table, e.g. ``pt``; constituents may also have features of their jet, e.g. ``jet_btag``. At
    level row the name of any column of the dataset."""
    scaler: str = "none"
    """A scaler or a chain such as ``log+standard``: minmax, standard, robust, l2, maxabs, percentile, affine, log,
    power, quantile.

    ``sincos`` (angles), ``onehot`` (categories) and ``none`` stand alone. ``percentile`` is weaver's automatic
    standardisation, ``affine`` what ``center``, ``scale`` and ``clip`` say, without any fit.
    """
    center: float | None = Field(None, allow_inf_nan=False)
    """For ``affine``, (value - center) * scale; null for 0."""
    scale: float | None = Field(None, allow_inf_nan=False)
    """For ``affine``; null for 1."""
    clip: Clip | None = None
    """Smallest and largest value that ``affine`` gives; null for no limits."""

    @field_validator("scaler")
    @classmethod
    def _known_scalers(cls, chain: str) -> str:
        stages = [stage.strip() for stage in chain.split("+")]
        for stage in stages:
            if stage not in SCALERS:
                raise ValueError(_unknown(stage, SCALERS, what="is not a scaler"))
            if stage in LONE_SCALERS and len(stages) > 1:
                raise ValueError(f"'{stage}' can't be part of the chain '{chain}': it stands alone")
        return "+".join(stages)

    @model_validator(mode="after")
    def _affine_is_whole(self) -> Self:
        given = [name for name in ("center", "scale", "clip") if getattr(self, name) is not None]
        if given and "affine" not in self.stages:
            raise ValueError(f"{', '.join(given)} of '{self.name}': for the scaler affine, and it has {self.scaler}")
        if self.stages.count("affine") > 1 or ("affine" in self.stages and not given):
            raise ValueError(f"'affine' of '{self.name}' stands once in a chain, and with center, scale or clip")
        if self.scale == 0 or (self.clip is not None and self.clip[0] >= self.clip[1]):
            raise ValueError(f"'affine' of '{self.name}' makes everything the same: scale is 0, or clip is empty")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the scalers in the order in which they are applied; empty for ``none``."""
        return () if self.scaler == "none" else tuple(self.scaler.split("+"))

    @property
    def affine(self) -> tuple[float, float, Clip | None]:
        """Center, scale and clip of the scaler ``affine``."""
        return (self.center or 0.0, 1.0 if self.scale is None else self.scale, self.clip)

    @classmethod
    def of_particles(cls, feature: ParticleFeature) -> FeatureSetting:
        """Returns the setting of a computed feature of particles."""
        if feature.scale is None:
            return cls(name=feature.name)
        return cls(name=feature.name, scaler="affine", center=feature.center, scale=feature.scale, clip=feature.clip)


def _features(*pairs: tuple[str, str]) -> tuple[FeatureSetting, ...]:
    return tuple(FeatureSetting(name=name, scaler=scaler) for name, scaler in pairs)


_KINEMATICS = (("pt", "log+standard"), ("eta", "standard"), ("phi", "sincos"))

DEFAULT_FEATURES = {
    "event": _features(("met", "log+standard"), ("met_phi", "sincos"), ("num_jets", "robust")),
    "jet": _features(("num_constituents", "robust"), *_KINEMATICS, ("btag", "none")),
    "constituent": _features(*_KINEMATICS, ("pdg_class", "onehot"), ("jet_btag", "none")),
}
"""Features of the objects where the settings name none: BEAD's scheme, and the class of each constituent."""


class SetSettings(Settings):
    """Which objects of a row are one set, and what a model sees of them."""

    collection: str | None = None
    """Collection of the dataset; null for that with the set's name."""
    size: int = Field(gt=0)
    """Objects kept per row, the first ones; rows with fewer are padded."""
    order: str | None = None
    """Column by which objects are ordered, largest first; null to keep them as they are stored."""
    vectors: tuple[str, str, str, str] | None = None
    """Columns of the collection that are the four-momenta px, py, pz, E [GeV], in this order: networks of particles see
    them, unscaled, beside the features. Null for none."""
    particle_features: ParticleFeatures | None = None
    """Features of particles in a jet as weaver's configs of JetClass define, order and scale them, computed from
    ``vectors`` and the row's pt, eta, phi and energy: ``kin`` (7: pt_log, e_log, logptrel, logerel, deltaR, deta,
    dphi), ``kinpid`` (13; with the collection's charge, isChargedHadron, isNeutralHadron, isPhoton, isElectron,
    isMuon), ``full`` (17; with d0val, d0err, dzval, dzerr, too). Null for none."""
    features: tuple[FeatureSetting, ...] = ()
    """Columns of the collection; they come after ``particle_features``, without which there is one at least."""

    @property
    def computed(self) -> tuple[ParticleFeature, ...]:
        """The features that are computed."""
        return () if self.particle_features is None else PARTICLE_FEATURES[self.particle_features]

    @property
    def all_features(self) -> tuple[FeatureSetting, ...]:
        """The computed features, then the columns."""
        return (*map(FeatureSetting.of_particles, self.computed), *self.features)

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if not self.all_features:
            raise ValueError("a set has features, or particle_features")
        if self.particle_features is not None and self.vectors is None:
            raise ValueError("particle_features are computed from vectors: name their four columns")
        return self


class PreprocessSettings(Settings):
    """What a model sees of an event, and which events train, validate and test."""

    level: Literal["event", "jet", "constituent", "row"] = "constituent"
    """What one object is: the event itself, a jet, or a constituent of a jet. At level ``row`` every row of the dataset
    (a jet of a flat ntuple, say) is learnt from on its own: ``event_features`` are its own columns, ``sets`` the
    objects that belong to it, and ``features`` stays empty."""
    num_jets: int = Field(3, gt=0)
    """Jets kept per event, the first in ``jet_ordering``."""
    num_constituents: int = Field(15, gt=0)
    """Constituents kept per jet, the first in ``constituent_ordering``."""
    jet_ordering: str = "pt"
    """Feature by which jets are ordered, largest first; equal values keep their order in the store."""
    constituent_ordering: str = "pt"
    """Feature by which the constituents of a jet are ordered, largest first."""
    features: tuple[FeatureSetting, ...] = ()
    """Features of the objects; where none are given, those of ``DEFAULT_FEATURES`` at this level."""
    event_features: tuple[FeatureSetting, ...] = ()
    """Features of the event beside its jets or constituents, e.g. ``met``; at level event ``features`` has them. At
    level row the row's own columns."""
    sets: dict[_SET_NAME, SetSettings] = Field(default_factory=dict)
    """Sets of objects of a row, by name; at level row only."""
    pt_column: str = "pt"
    """Column that is the row's transverse momentum [GeV]; at level row only."""
    eta_column: str = "eta"
    """Column that is the row's pseudorapidity; at level row only."""
    phi_column: str = "phi"
    """Column that is the row's azimuth; read where sets have ``particle_features``."""
    energy_column: str = "energy"
    """Column that is the row's energy [GeV]; read where sets have ``particle_features``."""
    targets: tuple[FeatureSetting, ...] = ()
    """Columns of the rows that a model learns to predict, and their scalers; at level row only."""
    observers: tuple[str, ...] = ()
    """Columns of the rows that are kept beside the scores and that no model sees, e.g. ``mass``; at level row only."""
    reweighting: ReweightingSettings | None = None
    """Gives all truths the pt and eta spectrum of one of them in the training, by the spectra of the training split; at
    level row only. Null for none."""
    validation_fraction: float = Field(0.15, ge=0, lt=1)
    """Fraction of the events of divided samples that is held out to stop the training."""
    test_fraction: float = Field(0.25, ge=0, lt=1)
    """Fraction of the events of divided samples that is kept for the test."""
    split_salt: int = Field(0, ge=0, lt=2**63)
    """Another number divides the events in another way."""
    fit_sample: int = Field(100_000, ge=1000)
    """Values from which robust, power and quantile are fitted (drawn by hash); all of them where there are fewer."""
    block_events: int = insignificant(
        4096, description="Events that are in memory at a time, per collection read.", gt=0, le=65536
    )

    @property
    def object_features(self) -> tuple[FeatureSetting, ...]:
        """Features of the objects, with the defaults of the level filled in."""
        return self.features or DEFAULT_FEATURES.get(self.level, ())

    @property
    def shape(self) -> tuple[int, ...]:
        """Objects per event in their nesting order, as in ``InputSpec.shape``."""
        return {
            "event": (1,),
            "jet": (self.num_jets,),
            "constituent": (self.num_jets, self.num_constituents),
            "row": (0,),
        }[self.level]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction add up to 1 or more: nothing is left to train on")
        if self.level == "row":
            _check_rows(self)
            return self
        for name in _ROW_FIELDS:
            if getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True):
                raise ValueError(f"{name} is for level row, and the level is {self.level}")
        if self.level == "event" and self.event_features:
            raise ValueError("at level event the features of the event belong in features, not in event_features")
        _check_features(self.features, self.level)
        _check_features(self.event_features, "event")
        _check_ordering(self.jet_ordering, "jets", key="jet_ordering")
        _check_ordering(self.constituent_ordering, "constituents", key="constituent_ordering")
        return self


def locate_feature(name: str, level: str) -> tuple[str, Feature]:
    """Returns the collection that holds the feature ``name`` of objects at ``level``, and its entry in the table.

    Raises:
        ValueError: There is no such feature at this level.
    """
    own = COLLECTIONS[level]
    if name in FEATURES[own]:
        return own, FEATURES[own][name]
    if level == "constituent" and name.startswith(_JET) and name.removeprefix(_JET) in FEATURES["jets"]:
        return "jets", FEATURES["jets"][name.removeprefix(_JET)]
    of_jets = [_JET + jet_feature for jet_feature in FEATURES["jets"]] if level == "constituent" else []
    raise ValueError(_unknown(name, [*FEATURES[own], *of_jets], what=f"is not a feature of objects at level {level}"))


def _check_features(features: tuple[FeatureSetting, ...], level: str) -> None:
    names = [feature.name for feature in features]
    for setting in features:
        _, feature = locate_feature(setting.name, level)
        if names.count(setting.name) > 1:
            raise ValueError(f"feature '{setting.name}' is given twice")
        if setting.scaler == "sincos" and feature.kind != "angle":
            raise ValueError(f"'sincos' is for angles, and '{setting.name}' is none")
        if feature.kind == "category" and not feature.categories:
            raise ValueError(f"'{setting.name}' has too many categories for a model: take pdg_class")
        if (feature.kind == "category") != (setting.scaler == "onehot"):
            raise ValueError(f"'onehot' is for categories and categories want 'onehot': not so for '{setting.name}'")


def _check_rows(settings: PreprocessSettings) -> None:
    if settings.features:
        raise ValueError(
            "at level row there are no objects but those of sets: features belong there or in event_features"
        )
    if not settings.sets and not settings.event_features:
        raise ValueError("at level row a model sees event_features and sets, and both are empty")
    groups = {"event_features": settings.event_features, "targets": settings.targets}
    for name, item in settings.sets.items():
        if name in SET_NAMES_TAKEN:
            raise ValueError(f"sets: '{name}' is the name of something else in model inputs: take another")
        groups[f"sets.{name}"] = item.all_features
    _check_targets(settings)
    for place, features in groups.items():
        names = [feature.name for feature in features]
        for feature in features:
            if names.count(feature.name) > 1:
                raise ValueError(f"{place}: feature '{feature.name}' is given twice")
            if feature.scaler == "onehot":
                raise ValueError(f"{place}: '{feature.name}' can't be onehot, since columns of rows have no categories")
            if place == "event_features" and feature.name in _TELLING:
                raise ValueError(
                    f"event_features: '{feature.name}' says what a model shall find out, or where it is from"
                )


def _check_targets(settings: PreprocessSettings) -> None:
    seen = {feature.name for feature in settings.event_features}
    for target in settings.targets:
        if target.name in seen:
            raise ValueError(f"targets: '{target.name}' is among event_features: the model would be told the answer")
        if target.scaler == "sincos":
            raise ValueError(f"targets: '{target.name}' can't be sincos: a target is one value")
    names = [target.name for target in settings.targets]
    for place, found in (("targets", names), ("observers", list(settings.observers))):
        for name in found:
            if found.count(name) > 1:
                raise ValueError(f"{place}: '{name}' is given twice")
            if name in _TELLING:
                raise ValueError(f"{place}: '{name}' is kept with every row anyway, and is no quantity")


def _check_ordering(name: str, collection: str, *, key: str) -> None:
    allowed = [feature.name for feature in FEATURES[collection].values() if feature.kind != "category"]
    if name not in allowed:
        raise ValueError(f"{key}: " + _unknown(name, allowed, what=f"can't order {collection}"))


def _unknown(name: str, allowed: Iterable[str], *, what: str) -> str:
    nearest = nearest_name(name, allowed)
    return f"'{name}' {what}" + (f"; nearest: {nearest}" if nearest else "") + f"; allowed: {', '.join(allowed)}"
