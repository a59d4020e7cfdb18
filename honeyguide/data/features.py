"""The one table of physical features: names, units, labels for plots, kinds and valid ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FeatureKind = Literal["continuous", "angle", "binary", "category"]


@dataclass(frozen=True)
class Feature:
    """One physical quantity of an event, a jet or a constituent.

    Attributes:
        name: The column's name.
        label: LaTeX for axes, without the unit.
        unit: ``GeV``, ``rad``, ``mm`` or empty.
        kind: ``angle`` is periodic, in (-pi, pi]; ``category`` has no order.
        low: Smallest valid value.
        high: Largest valid value.
        categories: Names of the categories in the order of their codes, where they are few.
        derived: Computed from stored columns when model inputs are made, not stored itself.
    """

    name: str
    label: str
    unit: str = ""
    kind: FeatureKind = "continuous"
    low: float = -math.inf
    high: float = math.inf
    categories: tuple[str, ...] = ()
    derived: bool = False

    @property
    def axis_label(self) -> str:
        """The label with its unit in brackets, as axes show it."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


PDG_CLASSES = ("charged_hadron", "neutral_hadron", "photon", "electron", "muon", "other")
"""Categories of ``pdg_class``, in the order of their codes."""


def _angle(name: str, label: str, *, derived: bool = False) -> Feature:
    return Feature(name, label, "rad", "angle", -math.pi, math.pi, derived=derived)


def _table(*features: Feature) -> dict[str, Feature]:
    return {feature.name: feature for feature in features}


FEATURES: Mapping[str, Mapping[str, Feature]] = {
    "events": _table(
        Feature("weight", "event weight"),
        Feature("met", r"$E_\mathrm{T}^\mathrm{miss}$", "GeV", low=0.0),
        _angle("met_phi", r"$\phi(E_\mathrm{T}^\mathrm{miss})$"),
        Feature("num_jets", r"$N_\mathrm{jets}$", low=0.0, derived=True),
    ),
    "jets": _table(
        Feature("pt", r"jet $p_\mathrm{T}$", "GeV", low=0.0),
        Feature("eta", r"jet $\eta$"),
        _angle("phi", r"jet $\phi$"),
        Feature("mass", "jet mass", "GeV", low=0.0),
        Feature("btag", "jet b-tag", kind="binary", low=0.0, high=1.0),
        Feature("num_constituents", r"$N_\mathrm{constituents}$", low=0.0, derived=True),
    ),
    "constituents": _table(
        Feature("pt", r"constituent $p_\mathrm{T}$", "GeV", low=0.0),
        Feature("eta", r"constituent $\eta$"),
        _angle("phi", r"constituent $\phi$"),
        Feature("pdg_id", "constituent PDG id", kind="category"),
        Feature("delta_eta", r"$\Delta\eta$(constituent, jet)", derived=True),
        _angle("delta_phi", r"$\Delta\phi$(constituent, jet)", derived=True),
        Feature("pt_fraction", r"$p_\mathrm{T}$(constituent) / $p_\mathrm{T}$(jet)", low=0.0, derived=True),
        Feature(
            "pdg_class",
            "constituent class",
            kind="category",
            low=0.0,
            high=len(PDG_CLASSES) - 1.0,
            categories=PDG_CLASSES,
            derived=True,
        ),
    ),
}
"""All features by collection and name."""
