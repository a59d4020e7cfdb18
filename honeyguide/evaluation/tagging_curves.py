"""ROC curves of taggers: per discriminator, process and window in pt and abs(eta)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honeyguide.data.expressions import parse_expression
from honeyguide.errors import DataError
from honeyguide.evaluation.discriminators import Discriminator, discriminators
from honeyguide.evaluation.efficiencies import Bools, Floats, Jets
from honeyguide.evaluation.result import RocResult, roc_result
from honeyguide.evaluation.roc import two_classes
from honeyguide.evaluation.settings import RocSettings
from honeyguide.evaluation.tagged_jets import TaggedJets
from honeyguide.evaluation.tagging_settings import INCLUSIVE, TaggingSettings, TaggingWindow

ALL_PROCESSES = "all processes"


@dataclass(frozen=True)
class TaggingCurve:
    """The ROC curve of one training, seed, discriminator, process and window.

    Attributes:
        training: Label of the training.
        seed: The seed.
        discriminator: Name of the discriminator.
        process: Name of the process, or ``all processes``.
        window: Name of the window, or ``inclusive``.
        signal: Truths of the signal.
        background: Truths of the background.
        result: Curve and numbers; None where there is none.
        reason: Why there is none; None where there is one.
        baseline: Expression of the plain variable that stands in the training's place; None for a tagger.
    """

    training: str
    seed: int
    discriminator: str
    process: str
    window: str
    signal: tuple[str, ...]
    background: tuple[str, ...]
    result: RocResult | None
    reason: str | None
    baseline: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Training, discriminator, process and window: equal for all seeds of a training."""
        return (self.training, *self.place)

    @property
    def place(self) -> tuple[str, str, str]:
        """Discriminator, process and window: equal for all curves of a figure."""
        return (self.discriminator, self.process, self.window)

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers (not the curve) as JSON types; where there is no curve, the reason."""
        head = {"training": self.training, "seed": self.seed, "discriminator": self.discriminator}
        head |= {"process": self.process, "window": self.window}
        head |= {} if self.baseline is None else {"baseline": self.baseline}
        head |= {"signal": list(self.signal), "background": list(self.background)}
        if self.result is None:
            return {**head, "auc": None, "reason": self.reason}
        numbers = self.result.to_json()
        return {**head, **{key: value for key, value in numbers.items() if key != "max_significance_improvement"}}


def curves(
    tagged: TaggedJets,
    *,
    name: tuple[str, int],
    settings: TaggingSettings,
    members: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[TaggingCurve]:
    """Yields the ROC curves of all discriminators, processes and windows of one training and seed.

    Args:
        tagged: The jets.
        name: Label and seed of the training.
        settings: Discriminators, windows, uncertainties.
        members: Truths of the classes, see :func:`~honeyguide.evaluation.discriminators.discriminators`.

    Raises:
        ConfigError: A class or group of the settings does not exist.
        DataError: Probabilities are not finite or negative.
    """
    for found in discriminators(settings, tagged.classes, tagged.jets.truths, members).values():
        yield from _of_places(found.values(tagged.probabilities), found, tagged, name=name, settings=settings)


def baseline_curves(
    tagged: TaggedJets,
    *,
    seed: int,
    settings: TaggingSettings,
    members: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[TaggingCurve]:
    """Yields the ROC curves of the plain variables of the settings, as if each were a tagger.

    A variable has one direction for all jets of a discriminator: that with an AUC of 0.5 or more.

    Args:
        tagged: The jets, with their observers.
        seed: What the curves have in a seed's place.
        settings: The variables; else as of :func:`curves`.
        members: As of :func:`curves`.

    Raises:
        ConfigError: An expression names something that is not known of the jets.
        DataError: A variable is not a number for some jets.
    """
    for found in discriminators(settings, tagged.classes, tagged.jets.truths, members).values():
        for label, text, values in baseline_values(tagged, found, settings):
            places = _of_places(values, found, tagged, name=(label, seed), settings=settings)
            yield from (replace(curve, baseline=text) for curve in places)


def baseline_values(
    tagged: TaggedJets, found: Discriminator, settings: TaggingSettings
) -> Iterator[tuple[str, str, Floats]]:
    """Yields label, expression and values (num_jets,) of the plain variables, larger for what a discriminator seeks.

    Errors are those of :func:`baseline_curves`.
    """
    jets = tagged.jets
    columns = {"pt": jets.pt, "eta": jets.eta, **tagged.observers}
    for name, text in settings.baselines.items():
        where = f"tagging.baselines.{name}"
        values = np.asarray(parse_expression(text, where=where, known=columns).evaluate(columns), np.float64)
        if count := np.isnan(values).sum():
            raise DataError("a baseline is not a number", where=where, got=f"{count} of {len(jets)} jets")
        whole, _ = discriminator_curve(
            values, jets, signal=found.signal, background=found.background, settings=settings
        )
        if whole is not None and whole.auc.value < 0.5:
            yield f"{name} (smaller)", text, -values
        else:
            yield name, text, values


def _of_places(
    values: Floats, found: Discriminator, tagged: TaggedJets, *, name: tuple[str, int], settings: TaggingSettings
) -> Iterator[TaggingCurve]:
    """Yields the curves of a number that jets have, for what a discriminator tells apart, in all regions."""
    jets = tagged.jets
    for process, window, inside in _regions(tagged, settings):
        result, reason = discriminator_curve(
            values, jets, signal=found.signal, background=found.background, inside=inside, settings=settings
        )
        if result is None and process not in (ALL_PROCESSES, *tagged.processes):
            reason = f"there are no jets of the process; there are {', '.join(tagged.processes)}"
        signal, background = (tuple(jets.truths[i] for i in codes) for codes in (found.signal, found.background))
        yield TaggingCurve(*name, found.name, process, window, signal, background, result, reason)


def discriminator_curve(
    values: Floats,
    jets: Jets,
    *,
    signal: Sequence[int],
    background: Sequence[int],
    settings: TaggingSettings,
    inside: Bools | None = None,
) -> tuple[RocResult | None, str | None]:
    """Returns the ROC curve of any number that jets have, be it of this tagger or a column of the file.

    Args:
        values: The number, larger for more signal-like jets, shape (num_jets,); may be infinite, and equal.
        jets: The jets.
        signal: Codes of the truths to find.
        background: Codes of the truths to reject; jets of neither are left out.
        settings: Uncertainties.
        inside: Which jets count; none: all.

    Returns:
        The curve and None, or None and the reason where a class has no jets.

    Raises:
        DataError: A value of signal or background is NaN.
    """
    counts = (jets.weight > 0) if inside is None else inside & (jets.weight > 0)
    chosen = [np.isin(jets.truth, codes) & counts for codes in (signal, background)]
    for codes, mask in zip((signal, background), chosen, strict=True):
        if not mask.any():
            return None, f"there are no jets of {', '.join(jets.truths[code] for code in codes) or 'any such truth'}"
    classes = two_classes(*(values[mask] for mask in chosen), *(jets.weight[mask] for mask in chosen))
    return roc_result(classes, _roc_settings(settings)), None


def in_window(jets: Jets, window: TaggingWindow) -> Bools:
    """Returns which jets are in the window's pt and abs(eta), shape (num_jets,)."""
    inside = np.ones(len(jets), bool)
    for ends, values in ((window.pt, jets.pt), (window.eta, np.abs(jets.eta))):
        if ends is not None:
            inside &= (values >= ends[0]) & (values < ends[1])
    return inside


def _regions(tagged: TaggedJets, settings: TaggingSettings) -> Iterator[tuple[str, str, Bools]]:
    """Yields (process, window, which jets) of all curves."""
    each = tagged.processes if settings.by_process and len(tagged.processes) > 1 else ()
    windows = {INCLUSIVE: None, **settings.windows}
    for name, window in windows.items():
        inside = np.ones(len(tagged), bool) if window is None else in_window(tagged.jets, window)
        wanted = (ALL_PROCESSES, *each) if window is None or window.process is None else (window.process,)
        for process in wanted:
            yield process, name, inside if process == ALL_PROCESSES else inside & _of_process(tagged, process)


def _of_process(tagged: TaggedJets, process: str) -> Bools:
    return np.array([name == process for name in tagged.processes], bool)[tagged.process]


def _roc_settings(settings: TaggingSettings) -> RocSettings:
    return RocSettings(
        background_efficiencies=settings.mistag_efficiencies,
        confidence_level=settings.confidence_level,
        min_background_events=settings.min_jets,
    )
