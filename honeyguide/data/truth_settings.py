"""Settings of truths: which rows belong to which class."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from honeyguide.settings import Settings

Operator = Literal["==", "!=", ">", "<", ">=", "<="]
Number = int | FiniteFloat
Comparison = Annotated[dict[Operator, Number], Field(min_length=1, max_length=1)]
Condition = Number | Comparison | Annotated[tuple[Number | Comparison, ...], Field(min_length=1)]
Definition = Annotated[tuple[Annotated[dict[str, Condition], Field(min_length=1)], ...], Field(min_length=1)]


class TruthSettings(Settings):
    """Which rows (jets, entries) belong to which truth. The order of the definitions is that of the class codes."""

    definitions: Annotated[tuple[str, ...], Field(min_length=1)] | Annotated[dict[str, Definition], Field(min_length=1)]
    """Names of branches that are not 0 where a row is of that truth, or a mapping from each truth to its conditions.

    Conditions are a list of ``{branch: [values]}`` or ``{branch: {">": 0}}``, where the operator is one of
    ``== != > < >= <=``: all items of the list hold, and one of the values of each branch.
    """
    unmatched: Literal["drop", "error"] = "drop"
    """Rows that no truth matches: ``drop`` counts them as rejected; they never get a class."""
    several: Literal["error", "first"] = "error"
    """Rows that several truths match: ``first`` gives them the one that is defined first."""

    @model_validator(mode="after")
    def _names_are_names(self) -> Self:
        names = list(self.definitions)
        if any(not name.strip() for name in names):
            raise ValueError("a truth has an empty name")
        if len(set(names)) < len(names):
            raise ValueError(f"a truth is defined twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the truths, in the order of their codes."""
        return tuple(self.definitions)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the branches that the definitions need."""
        if isinstance(self.definitions, tuple):
            return self.definitions
        items = (item for definition in self.definitions.values() for item in definition)
        return tuple(dict.fromkeys(branch for item in items for branch in item))
