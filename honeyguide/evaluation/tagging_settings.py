"""Settings of the evaluation of taggers: discriminators and working points."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from honeyguide.data.expressions import parse_expression
from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import ConfigError, nearest_name
from honeyguide.settings import Settings

Efficiency = Annotated[float, Field(gt=0, lt=1)]
ALL_CLASSES = "all"
INCLUSIVE = "inclusive"


class DiscriminatorSettings(Settings):
    """A sum of class probabilities over another: P(numerator) / P(denominator)."""

    numerator: tuple[str, ...] = Field(min_length=1)
    """Classes or groups of classes; jets with these truths are the signal."""
    denominator: tuple[str, ...] = Field(min_length=1)
    """Classes or groups, or ``all``; jets with these truths that are not in the numerator are the background."""
    veto: tuple[str, ...] = ()
    """Truths or groups that are left out of the evaluation, though they are in numerator or denominator."""


def _over(numerator: str, *denominator: str) -> DiscriminatorSettings:
    return DiscriminatorSettings(numerator=(numerator,), denominator=denominator)


READY_DISCRIMINATORS = {
    "BvsL": _over("b", "b", "light"),
    "BvsC": _over("b", "b", "c"),
    "CvsB": _over("c", "c", "b"),
    "CvsL": _over("c", "c", "light"),
    "BvsAll": _over("b", ALL_CLASSES),
    "QvsG": _over("quark", "quark", "gluon"),
}
"""Discriminators by the names of class groups; a class of that name stands where there is no such group."""


class WorkingPointSettings(Settings):
    """Working points of one discriminator: thresholds at given mis-identification efficiencies."""

    mistag: str = "light"
    """Truth or group whose mis-identification efficiency is fixed."""
    points: dict[str, Efficiency] = Field(
        default_factory=lambda: {"loose": 0.1, "medium": 0.01, "tight": 0.001, "extra_tight": 0.0005}, min_length=1
    )
    """Name of each working point to its mis-identification efficiency."""


class PlanePoint(Settings):
    """A working point in the plane of two discriminators, such as CvsL and CvsB."""

    first: Efficiency
    """Highest mis-identification efficiency of the background of the first discriminator."""
    second: Efficiency
    """Highest mis-identification efficiency of the background of the second discriminator."""


class TaggingWindow(Settings):
    """Jets of one region, with ROC curves of their own; a region has its lower ends, not its upper ones."""

    pt: tuple[float, float] | None = None
    """Lowest and highest pt [GeV]; none: all."""
    eta: tuple[float, float] | None = None
    """Lowest and highest abs(eta); none: all."""
    process: str | None = None
    """The process that the window is for; none: all of them, as where there are no windows."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.pt is None and self.eta is None and self.process is None:
            raise ValueError("a window needs pt, eta or process")
        for name, ends in (("pt", self.pt), ("abs(eta)", self.eta)):
            if ends is not None and not 0 <= ends[0] < ends[1]:
                raise ValueError(f"a window in {name} is [low, high] with 0 <= low < high, got {list(ends)}")
        return self


class TaggingSettings(Settings):
    """What is evaluated of a tagger."""

    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Name of a group to its classes, such as ``b: [b, bb, lepb]``; a class is a group by its own name."""
    discriminators: tuple[str, ...] = ("BvsL", "BvsC", "CvsB", "CvsL", "BvsAll")
    """Discriminators to evaluate: of ``definitions``, or ready ones (those of the default, and QvsG)."""
    definitions: dict[str, DiscriminatorSettings] = Field(default_factory=dict)
    """Discriminators beside the ready ones, or in their place."""
    baselines: dict[str, str] = Field(default_factory=dict)
    """Name of a plain variable to its expression over the observers, ``pt`` and ``eta`` (``jet mass: mass``, ``near the
    top: -abs(mass - 172.5)``): its ROC curves stand beside those of the taggers, with the same uncertainties. Larger is
    more signal-like; where that has an AUC below 0.5 for a discriminator, smaller is, and ``(smaller)`` is said."""
    windows: dict[str, TaggingWindow] = Field(default_factory=dict)
    """Name of a region in pt and abs(eta), of all processes or of one, to its limits: ROC curves of its own, beside
    those of all jets."""
    by_process: bool = True
    """Where there are several processes, each has ROC curves of its own, beside those of all together."""
    weighted: bool = True
    """Use the event weights; if not, every jet counts 1. Negative weights are an error: with them efficiencies are not
    monotonic in the threshold."""
    mistag_efficiencies: tuple[Efficiency, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    """Mis-identification efficiencies at which each ROC curve's signal efficiency is given."""
    score_bins: int = Field(50, ge=5)
    """Bins of the distributions of class probabilities and discriminators."""
    working_points: dict[str, WorkingPointSettings] = Field(default_factory=lambda: {"BvsL": WorkingPointSettings()})
    """Discriminator to its working points."""
    plane: tuple[str, str] = ("CvsL", "CvsB")
    """The two discriminators of the working points in two dimensions; they have the same signal."""
    plane_points: dict[str, PlanePoint] = Field(
        default_factory=lambda: {
            "loose": PlanePoint(first=0.9, second=0.35),
            "medium": PlanePoint(first=0.25, second=0.25),
            "tight": PlanePoint(first=0.05, second=0.2),
        }
    )
    """Name of each working point in two dimensions; empty: none."""
    bins: JetBinning = JetBinning(pt=(20, 30, 50, 70, 100, 140, 200, 300, 600, 1000))
    """Bins of the efficiencies."""
    confidence_level: float = Field(0.68, gt=0, lt=1)
    """Of all intervals; two-sided and central."""
    min_jets: float = Field(10, ge=1)
    """A threshold is defined where at least so many (effective) jets of the background pass; an efficiency in a bin,
    where at least so many (effective) jets are in it. Distributions are those of truths with at least so many jets."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if ALL_CLASSES in self.groups:
            raise ValueError(f"a group can't have the name {ALL_CLASSES!r}: it stands for all classes")
        if INCLUSIVE in self.windows:
            raise ValueError(f"a window can't have the name {INCLUSIVE!r}: it stands for all jets")
        for name, members in self.groups.items():
            if not members or len(set(members)) != len(members):
                raise ValueError(f"the group {name!r} needs one or more different classes, got {list(members)}")
        for name in ("discriminators", "mistag_efficiencies"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names a value twice: {', '.join(map(str, values))}")
        for name, text in self.baselines.items():
            try:
                parse_expression(text, where=f"baselines.{name}")
            except ConfigError as error:
                raise ValueError(str(error)) from error
        if self.plane_points and self.plane[0] == self.plane[1]:
            raise ValueError(f"plane needs two different discriminators, got {self.plane[0]!r} twice")
        return self

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = {**READY_DISCRIMINATORS, **self.definitions}
        named = {"discriminators": self.discriminators, "working_points": self.working_points}
        named["plane"] = self.plane if self.plane_points else ()
        for key, names in named.items():
            for name in names:
                if name not in known:
                    near = nearest_name(name, known)
                    raise ValueError(
                        f"{key} names the discriminator {name!r}, which there is not; "
                        + (f"nearest: {near}; " if near else "")
                        + f"allowed: {', '.join(known)}, and those of definitions"
                    )
        return self
