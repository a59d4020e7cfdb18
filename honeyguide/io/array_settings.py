"""Settings of the reader of padded arrays."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from honeyguide.data.truth_settings import TruthSettings
from honeyguide.io.root_settings import RootCollectionSettings, RootReaderSettings
from honeyguide.settings import Settings, insignificant

Component = Literal["px", "py", "pz", "energy"]
Components = tuple[Component, Component, Component, Component]
MOMENTUM: Components = ("px", "py", "pz", "energy")
SUMS = ("pt", "eta", "phi", "energy", "mass")


class ArrayReaderSettings(Settings):
    """How npz and HDF5 files of padded arrays are read: a row (a jet) for each first index, its particles beside it.

    Expressions name arrays: one number per row, or one per particle, (N, P) or (N, 1, P); a dot stands for the groups
    of HDF5, ``jets.pt`` for ``jets/pt``. They may name ``sum.pt``, ``sum.eta``, ``sum.phi``, ``sum.energy`` and
    ``sum.mass``, too, of the sum of the row's four-momenta.
    """

    table: str | None = None
    """Group of an HDF5 file with a pandas table (``format="table"``), whose columns then are the arrays; among
    ``vectors`` a ``*`` stands for the number of a particle: ``PX_*``. Null: datasets are the arrays."""
    vectors: str | tuple[str, str, str, str]
    """Array of four-momenta [GeV], as ``layout`` says, or four arrays (N, P) of ``components``."""
    layout: Literal["components_first", "particles_first"] = "components_first"
    """Axes of one array of four-momenta: ``components_first``: (N, 4, P); ``particles_first``: (N, P, 4)."""
    components: Components = MOMENTUM
    """What the four components, or arrays, are, in their order."""
    mask: str | None = None
    """Array (N, P) or (N, 1, P), not 0 where there is a particle; null: where the energy is above 0."""
    collection: str = "particles"
    """Name of the collection of the particles, with the columns px, py, pz, energy and those of ``particles``."""
    particles: dict[str, str] = Field(default_factory=dict)
    """Further columns of the particles: an expression over arrays for each name."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of the rows: an expression over arrays for each name; ``weight`` among them is the row's weight. What is
    missing of pt, eta, phi, energy and mass is computed from the sum of the four-momenta."""
    cuts: dict[str, str] = Field(default_factory=dict)
    """Conditions that a row has to meet, by the name under which the others are counted."""
    truths: TruthSettings | None = None
    """Which rows belong to which truth, by arrays of one number per row; of a one-hot array (N, C), the number is the
    place of its 1. None: rows have no truth."""
    group: str | None = None
    """Number of the physics event that a row belongs to, whose rows are all trained on or all tested on: an expression
    of whole numbers. Null: rows stand for themselves."""
    tolerance: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of the rows of a file that may be rejected as not finite before that is an error."""
    block_bytes: int = insignificant(
        2**24, ge=1, description="Bytes of the arrays that are read at once; memory grows with it, not with the file."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if sorted(self.components) != sorted(MOMENTUM):
            raise ValueError(f"components: px, py, pz and energy in some order, got {', '.join(self.components)}")
        taken = [name for name in self.particles if name in MOMENTUM]
        if taken:
            raise ValueError(f"particles: {', '.join(taken)} of the particles are those of vectors: take another name")
        try:
            self.rows()
        except ValidationError as error:
            raise ValueError(re.sub("^Value error, ", "", error.errors()[0]["msg"])) from error
        return self

    def rows(self) -> RootReaderSettings:
        """Returns the columns, collections, cuts and truths in the terms of the other reader of expressions."""
        momenta = {name: f"{self.collection}.{name}" for name in MOMENTUM}
        return RootReaderSettings(
            tree="arrays",
            columns={**{name: f"sum.{name}" for name in SUMS}, **self.columns},
            collections={self.collection: RootCollectionSettings(columns={**momenta, **self.particles})},
            cuts=self.cuts,
            truths=self.truths,
            group=self.group,
            tolerance=self.tolerance,
        )

    @property
    def vector_arrays(self) -> tuple[str, ...]:
        """Names of the arrays that the four-momenta are in."""
        return (self.vectors,) if isinstance(self.vectors, str) else self.vectors

    @property
    def components_axis(self) -> int | None:
        """The axis of the components in the array of four-momenta; None where there are four arrays."""
        if not isinstance(self.vectors, str):
            return None
        return 1 if self.layout == "components_first" else 2

    @property
    def made(self) -> frozenset[str]:
        """Names in expressions that are made from the four-momenta."""
        return frozenset([*(f"sum.{name}" for name in SUMS), *(f"{self.collection}.{name}" for name in MOMENTUM)])

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that are read, beside those of the four-momenta."""
        mask = () if self.mask is None else (self.mask,)
        return tuple(dict.fromkeys([*mask, *(name for name in self.rows().branches if name not in self.made)]))
