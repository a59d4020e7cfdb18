"""Discriminators of a tagger: sums of its class probabilities over others, by the names of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.evaluation.tagging_settings import (
    ALL_CLASSES,
    READY_DISCRIMINATORS,
    DiscriminatorSettings,
    TaggingSettings,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Discriminator:
    """A discriminator of a model: which of its classes are summed, and which truths it is to tell apart.

    Attributes:
        name: Its name.
        numerator: Columns of the probabilities that are summed above.
        denominator: Columns that are summed below.
        num_classes: Columns that there are.
        signal: Codes of the truths to find.
        background: Codes of the truths to reject. Truths that are neither are left out.
    """

    name: str
    numerator: tuple[int, ...]
    denominator: tuple[int, ...]
    num_classes: int
    signal: tuple[int, ...]
    background: tuple[int, ...]

    def values(self, probabilities: ArrayLike) -> Floats:
        """Returns the discriminator of each jet, shape (num_jets,); larger is more signal-like.

        0 / 0 is 0: what has no probability to be either is not tagged. Something over 0, which occurs only where the
        denominator lacks classes of the numerator, is +inf.

        Args:
            probabilities: Of each class, shape (num_jets, num_classes).

        Raises:
            DataError: Another number of classes; probabilities are negative or not finite.
        """
        p = checked_probabilities(probabilities, self.num_classes)
        above, below = p[:, self.numerator].sum(1), p[:, self.denominator].sum(1)
        result = np.where(above > 0, np.inf, 0.0)
        return np.asarray(np.divide(above, below, out=result, where=below > 0))

    def is_signal(self, truth: ArrayLike) -> Bools:
        """Returns which of the truth codes are signal."""
        return np.isin(truth, self.signal)

    def is_background(self, truth: ArrayLike) -> Bools:
        """Returns which of the truth codes are background."""
        return np.isin(truth, self.background)


def discriminators(
    settings: TaggingSettings,
    classes: Sequence[str],
    truths: Sequence[str] | None = None,
    members: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Discriminator]:
    """Returns the discriminators that the settings name, by name, for a model with the given classes.

    Args:
        settings: Groups of classes, and definitions.
        classes: The names of the columns of the probabilities, in their order.
        truths: The names of the truth codes, where they differ from the classes: there may be truths that the model
            does not know.
        members: Class to its truths, where they have other names than the class. A class that is not named is its own
            truth.

    Raises:
        ConfigError: A name is neither a discriminator, a class, a group nor a truth; nothing is left as signal or as
            background.
    """
    known = {**READY_DISCRIMINATORS, **settings.definitions}
    truths = truths or classes
    result = {}
    for name in settings.discriminators:
        if name not in known:
            raise _unknown("discriminator", name, known, where="tagging.discriminators")
        result[name] = _resolved(name, known[name], settings.groups, (classes, truths), members or {})
    return result


def sides(name: str, settings: TaggingSettings) -> tuple[str, str]:
    """Returns what a discriminator tells apart, in the names of its definition: signal and background."""
    definition = settings.definitions.get(name, READY_DISCRIMINATORS.get(name))
    if definition is None:
        known = {**READY_DISCRIMINATORS, **settings.definitions}
        raise _unknown("discriminator", name, known, where="tagging.discriminators")
    others = [item for item in definition.denominator if item not in definition.numerator]
    background = ", ".join("all others" if item == ALL_CLASSES else item for item in others)
    vetoed = f" without {', '.join(definition.veto)}" if definition.veto else ""
    return ", ".join(definition.numerator), background + vetoed


def in_truths(settings: TaggingSettings, members: Mapping[str, Sequence[str]]) -> TaggingSettings:
    """Returns the settings with groups of truths in place of groups of classes, for :func:`truth_codes`.

    Args:
        settings: Groups of classes.
        members: Class to its truths, as of :func:`discriminators`.
    """
    groups = {name: tuple(truths) for name, truths in members.items() if truths}
    for name, classes in settings.groups.items():
        groups[name] = tuple(dict.fromkeys(truth for item in classes for truth in members.get(item, (item,))))
    return settings.model_copy(update={"groups": groups})


def truth_codes(name: str, settings: TaggingSettings, truths: Sequence[str], *, where: str) -> tuple[int, ...]:
    """Returns the codes of the truths that a name stands for: those of a group, or the truth itself.

    Raises:
        ConfigError: There is no such group or truth, or no truth of the group.
    """
    members = settings.groups.get(name, (name,))
    found = tuple(code for code, truth in enumerate(truths) if truth in members)
    if not found:
        raise _unknown("truth or group of truths", name, [*truths, *settings.groups], where=where)
    return found


def checked_probabilities(probabilities: ArrayLike, num_classes: int) -> Floats:
    """Returns class probabilities in double precision, shape (num_jets, num_classes).

    Raises:
        DataError: Another number of classes; probabilities are negative or not finite.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] != num_classes:
        raise DataError("class probabilities have another shape", got=p.shape, allowed=f"(num_jets, {num_classes})")
    if count := int((~np.isfinite(p)).any(1).sum()):
        raise DataError(f"{count} of {len(p)} jets have a probability that is not finite", hint="did training diverge?")
    if count := int((p < 0).any(1).sum()):
        raise DataError(
            f"{count} of {len(p)} jets have a negative probability", hint="are these logits? Take their softmax before"
        )
    return p


def _resolved(
    name: str,
    definition: DiscriminatorSettings,
    groups: Mapping[str, tuple[str, ...]],
    names: tuple[Sequence[str], Sequence[str]],
    members: Mapping[str, Sequence[str]],
) -> Discriminator:
    (classes, truths), where = names, f"the discriminator {name}"
    above = _codes(definition.numerator, groups, classes, where=where)
    below = _codes(definition.denominator, groups, classes, where=where)
    vetoed = _of(_names(definition.veto, groups, [*classes, *truths], where=where), members)
    signal = _of([classes[code] for code in above], members) - vetoed
    background = _of([classes[code] for code in below if code not in above], members) - vetoed
    if not signal or not background:
        what = "signal" if not signal else "background"
        raise ConfigError(
            f"the discriminator '{name}' has no {what}",
            got=f"numerator {', '.join(definition.numerator)}; denominator {', '.join(definition.denominator)}; "
            f"veto {', '.join(definition.veto) or 'none'}",
            hint="the signal is what stands in the numerator; the background, what is in the denominator alone",
        )
    return Discriminator(
        name=name,
        numerator=above,
        denominator=below,
        num_classes=len(classes),
        signal=tuple(code for code, truth in enumerate(truths) if truth in signal),
        background=tuple(code for code, truth in enumerate(truths) if truth in background),
    )


def _of(classes: Iterable[str], members: Mapping[str, Sequence[str]]) -> set[str]:
    """Returns the truths of some classes."""
    return {truth for name in classes for truth in members.get(name, (name,))}


def _codes(
    names: Sequence[str], groups: Mapping[str, tuple[str, ...]], known: Sequence[str], *, where: str
) -> tuple[int, ...]:
    wanted = _names(names, groups, known, where=where)
    return tuple(code for code, name in enumerate(known) if name in wanted)


def _names(
    names: Sequence[str], groups: Mapping[str, tuple[str, ...]], known: Sequence[str], *, where: str
) -> set[str]:
    """Returns the classes that names of classes and groups stand for; a group's name hides a class of that name."""
    found: set[str] = set()
    for name in names:
        members = tuple(known) if name == ALL_CLASSES else groups.get(name, (name,))
        for member in members:
            if member not in known:
                group = f" (of the group '{name}')" if name in groups else ""
                raise _unknown("class or group", member, [*known, *groups], where=f"{where}{group}")
        found.update(members)
    return found


def _unknown(kind: str, name: str, allowed: Sequence[str] | Mapping[str, object], *, where: str) -> ConfigError:
    return ConfigError(
        f"there is no {kind} '{name}'",
        where=where,
        allowed=", ".join(dict.fromkeys(allowed)),
        nearest=nearest_name(name, allowed),
    )
