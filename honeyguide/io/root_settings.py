"""Settings of the reader of ROOT files."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from honeyguide.data.expressions import Expression, parse_expression
from honeyguide.data.truth_settings import TruthSettings
from honeyguide.errors import ConfigError
from honeyguide.settings import Settings, insignificant

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# what the reader and the event store add themselves
_RESERVED = {"id", "entry", "object", "group", "truth", "process", "generator", "signal_point", "label", "offsets"}

CoffeaSchema = Literal["BaseSchema", "NanoAODSchema", "PFNanoAODSchema", "ScoutingNanoAODSchema", "PHYSLITESchema"]
Columns = Annotated[dict[str, str], Field(min_length=1)]


class RootCollectionSettings(Settings):
    """Objects of the rows: candidates, tracks, vertices."""

    columns: Columns
    """Columns: an expression over branches for each name; all of them have equally many objects."""
    row_index: str | None = None
    """Branch with, for each object, the place of its row in the entry (``JetPFCands_jetIdx``); only for rows that are
    objects. A negative one says that the object belongs to none. Without it, the columns are lists within lists.
    """


class RootReaderSettings(Settings):
    """How TTrees and RNTuples are read: which branches become which columns, and which rows are kept."""

    tree: str = Field(min_length=1)
    """Name of the TTree or RNTuple in the file, with its folders: ``Events``, ``deepntuplizer/tree``."""
    rows: Literal["entries", "objects"] = "entries"
    """``entries``: a row for each entry of the tree; ``objects``: one for each object of the lists in ``columns``, e.g.
    each jet of NanoAOD, to which the flat branches of its entry belong too.
    """
    coffea_schema: CoffeaSchema | None = None
    """Schema of coffea.nanoevents by which expressions name what is in an event, with its cross references
    (``Jet.pt``, ``Jet.matched_gen.partonFlavour``); none: they name branches (``Jet_pt``). What an event has not, such
    as a jet without match, is NaN, or -9999 among whole numbers."""
    processor: str | None = None
    """A ``coffea.processor.ProcessorABC`` of one's own, which makes the rows instead of ``columns`` and the rest
    (``docs/coffea-processors.md``): ``module:Class``, or ``file.py:Class``, from the folder of the dataset's YAML."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of the rows: an expression over branches for each name; ``weight`` among them is the row's weight."""
    collections: dict[str, RootCollectionSettings] = Field(default_factory=dict)
    """Objects of each row by the collection's name."""
    cuts: dict[str, str] = Field(default_factory=dict)
    """Conditions that a row has to meet, by the name under which the others are counted."""
    truths: TruthSettings | None = None
    """Which rows belong to which truth; none: rows have no truth."""
    group: str | None = None
    """Number of the physics event that a row belongs to (``event``), whose rows are all trained on or all tested on:
    a branch or expression of whole numbers. Without it rows that are objects belong to their entry, and rows that are
    entries stand for themselves."""
    tolerance: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of the rows of a file that may be rejected as not finite before that is an error."""
    unreadable: Literal["error", "skip"] = "error"
    """Truncated and damaged files: ``skip`` counts what is lost and goes on with the next file."""
    block_bytes: int = insignificant(
        2**23, ge=1, description="Bytes of the branches that are read at once; memory grows with it, not with the file."
    )

    @model_validator(mode="after")
    def _one_maker_of_rows(self) -> Self:
        if self.processor is None and not self.columns:
            raise ValueError("columns: at least one is needed, or a processor that makes them")
        theirs = (self.columns, self.collections, self.cuts, self.truths, self.group)
        if self.processor is not None and (any(theirs) or self.rows == "objects"):
            raise ValueError(
                "a processor makes the rows: no rows, columns, collections, cuts, truths or group beside it"
            )
        return self

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        groups = {"columns": self.columns, **{name: item.columns for name, item in self.collections.items()}}
        for group, columns in groups.items():
            for name in columns:
                if not _NAME.fullmatch(name) or name in _RESERVED:
                    raise ValueError(f"{group}: '{name}' can't name a column: it is reserved, or no plain name")
        for name, item in self.collections.items():
            if not _NAME.fullmatch(name) or name in {"events", "columns"}:
                raise ValueError(f"collections: '{name}' can't name a collection: it is reserved, or no plain name")
            if item.row_index is not None and self.rows == "entries":
                raise ValueError(f"collections.{name}: row_index is for rows: objects; entries have all their objects")
        try:
            self.parsed()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def parsed(self) -> dict[str, Expression]:
        """Returns the parsed expressions by config key, e.g. ``columns.pt``, ``collections.tracks.columns.d0``.

        Raises:
            ConfigError: One of them is wrong.
        """
        texts = {f"columns.{name}": text for name, text in self.columns.items()}
        texts |= {f"cuts.{name}": text for name, text in self.cuts.items()}
        for group, item in self.collections.items():
            texts |= {f"collections.{group}.columns.{name}": text for name, text in item.columns.items()}
            if item.row_index is not None:
                texts[f"collections.{group}.row_index"] = item.row_index
        if self.group is not None:
            texts["group"] = self.group
        return {key: parse_expression(text, where=key) for key, text in texts.items()}

    @property
    def names_branches(self) -> bool:
        """Whether expressions name branches of the file, not what a schema makes of them."""
        return self.processor is None and self.coffea_schema is None

    @property
    def branches(self) -> tuple[str, ...]:
        """Names of the branches that are read; no other ones are."""
        names = [name for expression in self.parsed().values() for name in expression.columns]
        return tuple(dict.fromkeys([*names, *(self.truths.columns if self.truths else ())]))
