"""What model inputs look like: names, shapes, units and categories, so that no model knows a file format."""

from __future__ import annotations

from typing import Literal

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.settings import Settings

Level = Literal["event", "jet", "constituent", "row"]


class Column(Settings):
    """One input column after scaling and encoding."""

    name: str
    """Name of the column, e.g. ``pt``, ``sin(phi)``, ``pdg_class=photon``."""
    feature: str
    """Name of the physical feature that it encodes, e.g. ``phi``."""
    kind: Literal["continuous", "binary", "category"]
    """``category`` columns are one-hot and stand side by side."""
    unit: str = ""
    """Unit of the physical feature."""


class ObjectSet(Settings):
    """One of several sets of objects of a row, e.g. the charged candidates of a jet."""

    name: str
    """Name of the set, e.g. ``cpf``."""
    size: int
    """Objects per row."""
    columns: tuple[Column, ...]
    """Columns of the objects, in order."""
    vectors: bool = False
    """Whether the objects have four-momenta beside their features."""


class InputSpec(Settings):
    """The contract between PreprocessTask and a model.

    ``objects`` of a batch has shape (batch, num_objects, num_features) and ``event`` has (batch, num_event_features).
    At level ``row`` there are none: a row (a jet of a flat ntuple, say) has ``event`` features of its own and
    any number of ``sets``.
    """

    level: Level
    """What one object is; at level ``event`` there is one object per event, at level ``row`` none."""
    shape: tuple[int, ...]
    """Objects per event: ``(1,)``, ``(num_jets,)`` or ``(num_jets, num_constituents)``, in this nesting order; ``(0,)``
    at level ``row``."""
    columns: tuple[Column, ...]
    """Columns of ``objects``, in order."""
    event_columns: tuple[Column, ...] = ()
    """Columns of ``event``, in order."""
    processes: tuple[str, ...]
    """Names behind the integer codes of ``process``."""
    generators: tuple[str, ...]
    """Names behind the integer codes of ``generator``."""
    signal_points: tuple[str, ...] = ()
    """Names behind the integer codes of ``signal_point``; -1 stands for none (background)."""
    sets: tuple[ObjectSet, ...] = ()
    """Sets of objects of a row, at level ``row``."""
    targets: tuple[Column, ...] = ()
    """Columns of ``targets``: what a model learns to predict of a row, in order, each scaled."""
    observers: tuple[str, ...] = ()
    """Names of the columns of ``observers``: what is known of a row and kept beside its scores, and no model sees."""
    truths: tuple[str, ...] = ()
    """Names behind the integer codes of ``truth``; none where rows have no truth."""

    @property
    def num_objects(self) -> int:
        """Objects per event, the product of ``shape``."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def num_features(self) -> int:
        """Columns per object."""
        return len(self.columns)

    @property
    def num_event_features(self) -> int:
        """Columns per event."""
        return len(self.event_columns)

    def continuous_column(self, name: str, *, where: str) -> int:
        """Returns the place of a continuous column of the objects.

        Args:
            name: Its name.
            where: What names it, for the error.

        Raises:
            ConfigError: There is no such column.
        """
        names = [column.name for column in self.columns if column.kind == "continuous"]
        if name not in names:
            raise ConfigError(
                f"'{name}' is no continuous column of the objects that the model sees",
                where=where,
                allowed=", ".join(names),
                nearest=nearest_name(name, names),
            )
        return [column.name for column in self.columns].index(name)
