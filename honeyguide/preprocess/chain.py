"""Chains of scalers for one feature, and the set of chains that belongs to a folder of model inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.splits import hash_ids
from honeyguide.errors import DataError, StoreError
from honeyguide.preprocess.sample_scalers import Keys, KeySample, Percentile, Power, Quantile, Robust
from honeyguide.preprocess.scalers import (
    L2,
    Affine,
    Log,
    MaxAbs,
    MinMax,
    OneHot,
    Sampled,
    Scaler,
    SinCos,
    Standard,
    Streamed,
    Values,
)

SCALERS_FILE = "scalers.json"
_CLASSES: Mapping[str, type[Scaler]] = {
    cls.name: cls
    for cls in (MinMax, Standard, MaxAbs, L2, Log, SinCos, OneHot, Affine, Robust, Percentile, Power, Quantile)
}
AffineParameters = tuple[float, float, tuple[float, float] | None]
"""Center, scale and clip of the scaler ``affine``."""


class Chain:
    """Scalers of one feature, applied one after the other.

    A stage can be fitted once the stages before it are; fitting takes :attr:`num_passes` passes over the data, each a
    series of :meth:`partial_fit` and one :meth:`finish_pass`.

    Args:
        feature: Name of the feature, for messages.
        stages: Names of the scalers; none leave the feature as it is.
        num_categories: Categories of the feature, for ``onehot``.
        fit_sample: Values from which quantiles and power are fitted.
        affine: Parameters of ``affine``.
    """

    def __init__(
        self,
        feature: str,
        stages: Sequence[str],
        *,
        num_categories: int = 0,
        fit_sample: int = 100_000,
        affine: AffineParameters = (0.0, 1.0, None),
    ) -> None:
        self.feature = feature
        given: dict[str, Scaler] = {OneHot.name: OneHot(num_categories), Affine.name: Affine(*affine)}
        self.stages = [given.get(name) or _CLASSES[name]() for name in stages]
        self._fit_sample = fit_sample
        self._sample = KeySample(fit_sample)
        self._next = 0
        self._seen = False
        self._skip_unlearned()

    @property
    def num_passes(self) -> int:
        """Passes over the data that a complete fit takes."""
        return sum(isinstance(stage, (Streamed, Sampled)) for stage in self.stages)

    @property
    def is_fitted(self) -> bool:
        """Whether all stages are fitted."""
        return self._next == len(self.stages)

    @property
    def num_outputs(self) -> int:
        """Number of columns that the feature becomes."""
        return self.stages[-1].num_outputs if self.stages else 1

    @property
    def needs_keys(self) -> bool:
        """Whether the stage that is fitted next draws a sample."""
        return not self.is_fitted and isinstance(self.stages[self._next], Sampled)

    def partial_fit(self, values: Values, keys: Keys) -> None:
        """Takes a block of values (num_values,) into the fit of the next stage.

        Raises:
            DataError: A value is NaN or infinite.
        """
        if self.is_fitted or not len(values):
            return
        check_finite(values, self.feature)
        self._seen = True
        for earlier in self.stages[: self._next]:
            values = earlier.transform(values)
        stage = self.stages[self._next]
        if isinstance(stage, Streamed):
            stage.partial_fit(values)
        else:
            self._sample.add(values, keys)

    def finish_pass(self) -> None:
        """Ends the fit of the next stage.

        Raises:
            DataError: There was no value to fit.
        """
        if self.is_fitted:
            return
        if not self._seen:
            raise DataError(
                f"the scaler of '{self.feature}' has nothing to be fitted on",
                got="no object in any training event",
                hint="are there jets and constituents in the training samples?",
            )
        stage = self.stages[self._next]
        if isinstance(stage, Streamed):
            stage.finish()
        elif isinstance(stage, Sampled):
            stage.fit_sorted(self._sample.sorted_values())
            self._sample = KeySample(self._fit_sample)
        self._next += 1
        self._skip_unlearned()

    def fit(self, values: Values, keys: Keys | None = None) -> Chain:
        """Returns the chain itself, fitted in one go on values (num_values,)."""
        if keys is None:
            keys = hash_ids(np.arange(len(values)))
        while not self.is_fitted:
            self.partial_fit(values, keys)
            self.finish_pass()
        return self

    def transform(self, values: Values) -> Values:
        """Returns the scaled values: (num_values,), or (num_values, num_outputs)."""
        for stage in self.stages:
            values = stage.transform(values)
        return values

    def inverse(self, scaled: Values) -> Values:
        """Returns the values (num_values,) behind the scaled ones."""
        for stage in reversed(self.stages):
            scaled = stage.inverse(scaled)
        return scaled

    def log_jacobian(self, values: Values) -> Values:
        """Returns log|d scaled / d value| at each value, (num_values,); 0 for ``sincos`` and ``onehot``."""
        total = np.zeros(np.shape(values))
        for stage in self.stages:
            total += stage.log_jacobian(values)
            values = stage.transform(values)
        return total

    def to_dict(self) -> dict[str, Any]:
        """Returns the chain as JSON types."""
        return {"feature": self.feature, "stages": [{"name": s.name, **s.state()} for s in self.stages]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Chain:
        """Returns the fitted chain that :meth:`to_dict` described."""
        chain = cls(values["feature"], [stage["name"] for stage in values["stages"]])
        for scaler, state in zip(chain.stages, values["stages"], strict=True):
            scaler.restore({key: value for key, value in state.items() if key != "name"})
        chain._next = len(chain.stages)
        return chain

    def _skip_unlearned(self) -> None:
        while not self.is_fitted and not isinstance(self.stages[self._next], (Streamed, Sampled)):
            self._next += 1


@dataclass(frozen=True)
class Scalers:
    """The chains of all features of model inputs.

    Attributes:
        objects: One chain per feature of the objects, in the order of the columns.
        event: One chain per feature of the event.
        sets: One chain per feature of the objects of each set, by the set's name; see ``InputSpec.sets``.
        targets: One chain per target of the rows; their inverse makes predictions physical.
    """

    objects: tuple[Chain, ...]
    event: tuple[Chain, ...] = ()
    sets: Mapping[str, tuple[Chain, ...]] = field(default_factory=dict)
    targets: tuple[Chain, ...] = ()

    def write(self, folder: Path) -> None:
        """Writes ``scalers.json``."""
        content: dict[str, Any] = {"schema_version": 1, "objects": _dicts(self.objects), "event": _dicts(self.event)}
        if self.sets:
            content["sets"] = {name: _dicts(chains) for name, chains in self.sets.items()}
        if self.targets:
            content["targets"] = _dicts(self.targets)
        (folder / SCALERS_FILE).write_text(json.dumps(content, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Scalers:
        """Returns the scalers of a folder of model inputs.

        Raises:
            StoreError: They are missing or damaged.
        """
        path = folder / SCALERS_FILE
        try:
            content = json.loads(path.read_text())
            objects, event = (tuple(map(Chain.from_dict, content[part])) for part in ("objects", "event"))
            sets = {name: tuple(map(Chain.from_dict, chains)) for name, chains in content.get("sets", {}).items()}
            targets = tuple(map(Chain.from_dict, content.get("targets", ())))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError("the scalers are missing or damaged", where=path, got=repr(error)) from error
        return cls(objects, event, sets, targets)


def scale_columns(
    chains: Sequence[Chain], columns: Sequence[Values], *, num_values: int | None = None
) -> NDArray[np.float32]:
    """Returns the scaled features side by side, shape (num_values, sum of num_outputs), float32.

    Args:
        chains: One chain per feature.
        columns: One array (num_values,) per feature.
        num_values: Has to be given where there may be no feature.
    """
    size = len(columns[0]) if num_values is None else num_values
    scaled = np.empty((size, sum(chain.num_outputs for chain in chains)), dtype=np.float32)
    start = 0
    for chain, column in zip(chains, columns, strict=True):
        stop = start + chain.num_outputs
        values = chain.transform(column)
        scaled[:, start:stop] = values if values.ndim == 2 else values[:, None]
        start = stop
    return scaled


def invert_columns(chains: Sequence[Chain], scaled: Values) -> dict[str, Values]:
    """Returns the physical values behind scaled features, one array (...,) per feature, from shape (..., columns)."""
    values: dict[str, Values] = {}
    start = 0
    for chain in chains:
        part = scaled[..., start : start + chain.num_outputs]
        values[chain.feature] = chain.inverse(
            part if chain.stages and chain.stages[-1].num_outputs > 1 else part[..., 0]
        )
        start += chain.num_outputs
    return values


def check_finite(values: Values, feature: str, *, where: Path | None = None) -> None:
    """Checks that all values are finite.

    Raises:
        DataError: One is NaN or infinite.
    """
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values))
        raise DataError(
            f"the feature '{feature}' has values that are not finite",
            where=where,
            got=f"{len(bad)} of {len(values)}, the first is {values[bad[0]]}",
            hint="read the source files again: the reader rejects such events",
        )


def _dicts(chains: Sequence[Chain]) -> list[dict[str, Any]]:
    return [chain.to_dict() for chain in chains]
