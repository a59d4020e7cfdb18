"""Annealing: the weights and temperatures of each epoch, from the settings and what the training has come to."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.training.annealing_settings import AnnealingSettings

_FRACTIONS = {"third_patience": 3, "half_patience": 2}

_BEAD_NAMES = {
    "reg_param": ("kl", "flow", "emd", "l1", "l2"),
    "contrastive_weight": ("supervised_contrastive", "ntxent"),
}
"""BEAD's names, each for the weights of those of these terms that the model has."""


class Annealing:
    """The values of each epoch. It has no state: whoever knows how the epochs before went knows the next one's values.

    Args:
        settings: How the values of some names change; BEAD's names (:data:`_BEAD_NAMES`) stand for several.
        base: Values of all names without annealing: the weights of the loss terms, temperatures.
        num_epochs: Epochs that the training takes at most.
        patience: Epochs without improvement after which it stops; None for never.

    Raises:
        ConfigError: A name is not in ``base``, or given twice; a trigger needs the patience, and there is none; or a
            temperature comes to 0.
    """

    def __init__(
        self,
        settings: Mapping[str, AnnealingSettings],
        *,
        base: Mapping[str, float],
        num_epochs: int,
        patience: int | None,
    ) -> None:
        self._settings = _by_own_names(settings, base)
        for name, annealed in self._settings.items():
            _check(name, annealed, base, patience)
        self._base = dict(base)
        self._num_epochs = num_epochs
        self._patience = patience

    def values_at(self, waited: Sequence[int]) -> dict[str, float]:
        """Returns the values of all names in the epoch that comes next.

        Args:
            waited: For each epoch that is over, how many epochs without improvement there had been after it: the
                early-stopping counter. The next epoch's number, from 0, is the length.
        """
        annealed = {name: self._value(name, settings, waited) for name, settings in self._settings.items()}
        return self._base | annealed

    def _value(self, name: str, settings: AnnealingSettings, waited: Sequence[int]) -> float:
        epoch = len(waited)
        if settings.trigger is not None:
            num_steps = _count_rises(waited, self._threshold(settings.trigger))
            return settings.values[min(num_steps, len(settings.values) - 1)]
        if settings.shape == "steps":
            place = bisect_right(settings.at, epoch)
            return settings.values[place - 1] if place else self._base[name]
        start = self._base[name] if settings.start is None else settings.start
        assert settings.end is not None, "the settings ask for it"
        length = settings.epochs or max(1, self._num_epochs - 1 - settings.first_epoch)
        progress = min(max((epoch - settings.first_epoch) / length, 0.0), 1.0)
        if settings.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return (1 - progress) * start + progress * settings.end  # exact at both ends

    def _threshold(self, trigger: str) -> float:
        """Returns how many epochs without improvement pull the trigger."""
        if trigger == "counter":
            return 1
        assert self._patience is not None, "checked at construction"
        return self._patience / _FRACTIONS[trigger]


def _count_rises(waited: Sequence[int], threshold: float) -> int:
    """Returns how often the counter has come to the threshold from below."""
    return sum(before < threshold <= after for before, after in pairwise([0, *waited]))


def _by_own_names(settings: Mapping[str, AnnealingSettings], base: Mapping[str, float]) -> dict[str, AnnealingSettings]:
    """Returns the settings with BEAD's names replaced."""
    found: dict[str, AnnealingSettings] = {}
    for given, annealed in settings.items():
        # of a name that stands for nothing in this model the error speaks as it was given
        for name in [name for name in _BEAD_NAMES.get(given, ()) if name in base] or [given]:
            if name in found:
                raise ConfigError("two annealings of one value", where=f"annealing of '{given}'", got=name)
            found[name] = annealed
    return found


def _check(name: str, settings: AnnealingSettings, base: Mapping[str, float], patience: int | None) -> None:
    where = f"annealing of '{name}'"
    if name not in base:
        raise ConfigError(
            "there is nothing of that name to anneal",
            where=where,
            allowed=", ".join(base),
            nearest=nearest_name(name, base),
        )
    if name.endswith("temperature") and 0 in (settings.start, settings.end, *settings.values):
        raise ConfigError("nothing can be divided by a temperature of 0", where=where, allowed="values above 0")
    if settings.trigger in _FRACTIONS and patience is None:
        raise ConfigError(
            "the trigger is a part of the patience, and there is none",
            where=where,
            got=settings.trigger,
            hint="set training.early_stopping_patience, or trigger: counter",
        )
