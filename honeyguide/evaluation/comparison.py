"""Several taggers and plain variables on the same jets: areas, rejections, and the significance of differences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError
from honeyguide.evaluation.discriminators import Discriminator, discriminators
from honeyguide.evaluation.efficiencies import Bools, Floats, Jets
from honeyguide.evaluation.paired import Area, Difference, area, difference, mean
from honeyguide.evaluation.rejection import Rejection, rejections
from honeyguide.evaluation.result import number
from honeyguide.evaluation.roc import two_classes
from honeyguide.evaluation.tagged_jets import TaggedJets, read_tagged_jets
from honeyguide.evaluation.tagging_curves import baseline_values
from honeyguide.evaluation.tagging_run import Members, Trainings, evaluate_taggers
from honeyguide.evaluation.tagging_settings import TaggingSettings

SCHEMA = 1
SIGNAL_EFFICIENCIES = (0.3, 0.5)


@dataclass(frozen=True)
class Row:
    """A tagger, or a plain variable, and a discriminator.

    Attributes:
        name: Of the tagger or the variable.
        discriminator: What is told apart.
        area: The area under the ROC curve, the mean over the seeds.
        seed_spread: Standard deviation of the area over the seeds; None for one seed.
        rejections: Of the first seed.
    """

    name: str
    discriminator: str
    area: Area
    seed_spread: float | None
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        rows: All taggers and variables, by discriminator.
        differences: (discriminator, name, other name) to the difference of their areas.
        num_jets: Jets that all of them were applied to.
    """

    rows: tuple[Row, ...]
    differences: Mapping[tuple[str, str, str], Difference]
    num_jets: int

    def markdown(self) -> str:
        """Returns tables of everything, in Markdown."""
        head = ["", "AUC", *(f"rejection at {100 * e:g} %" for e in SIGNAL_EFFICIENCIES)]
        lines = [f"{self.num_jets:,} jets, the same for all; ± and [ ] are from their number."]
        for discriminator in dict.fromkeys(row.discriminator for row in self.rows):
            rows = [row for row in self.rows if row.discriminator == discriminator]
            lines += ["", f"## {discriminator}", "", *_table(head, [_cells(row) for row in rows])]
            pairs = [(key[1:], found) for key, found in self.differences.items() if key[0] == discriminator]
            cells = [[f"{a} - {b}", f"{d.value:+.4f} ± {d.error:.4f}", f"{d.p_value:.2g}"] for (a, b), d in pairs]
            if cells:
                lines += ["", *_table(["difference", "of AUC", "p-value"], cells)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types."""
        return {
            "schema": SCHEMA,
            "num_jets": self.num_jets,
            "rows": [
                {
                    "name": row.name,
                    "discriminator": row.discriminator,
                    "auc": {"value": row.area.value, "error": number(row.area.error), "seed_spread": row.seed_spread},
                    "rejections": [_plain(asdict(rejection)) for rejection in row.rejections],
                }
                for row in self.rows
            ],
            "differences": [
                {"discriminator": name, "first": first, "second": second, **_plain(asdict(found))}
                for (name, first, second), found in self.differences.items()
            ],
        }


def compare_taggers(
    trainings: Trainings, folder: Path, *, settings: TaggingSettings, members: Mapping[str, Members]
) -> Comparison:
    """Returns the comparison of some taggers on the same jets, after writing and drawing it.

    Files: ``comparison.json`` and ``comparison.md``, and everything that
    :func:`~honeyguide.evaluation.tagging_run.evaluate_taggers` writes.

    Args:
        trainings: As of ``evaluate_taggers``.
        folder: Existing folder to write to.
        settings: Discriminators, plain variables, uncertainties.
        members: Label of each training to the truths of its classes.

    Raises:
        DataError: The trainings were not applied to the same jets; else as of ``evaluate_taggers``.
        ConfigError: As of ``evaluate_taggers``.
    """
    tagged = {
        label: {seed: read_tagged_jets(samples, weighted=settings.weighted) for seed, samples in seeds.items()}
        for label, seeds in trainings.items()
    }
    check_same_jets(tagged)
    rows = [row for name in settings.discriminators for row in _rows(name, tagged, settings, members)]
    differences = {
        (one.discriminator, one.name, other.name): difference(one.area, other.area)
        for one, other in combinations(rows, 2)
        if one.discriminator == other.discriminator
    }
    first = next(iter(next(iter(tagged.values())).values()))
    found = Comparison(tuple(rows), differences, len(first))
    (folder / "comparison.json").write_text(json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n")
    (folder / "comparison.md").write_text(found.markdown())
    evaluate_taggers(trainings, folder, settings=settings, members=members)
    return found


def check_same_jets(tagged: Mapping[str, Mapping[int, TaggedJets]]) -> None:
    """Checks that all trainings were applied to the same jets in the same order.

    Raises:
        DataError: They were not: another number of jets, other jets, or other truths.
    """
    every = [(label, one) for label, seeds in tagged.items() for one in seeds.values()]
    label, first = every[0]
    for other, jets in every[1:]:
        if not np.array_equal(first.event_id, jets.event_id) or not np.array_equal(_truths(first), _truths(jets)):
            raise DataError(
                f"'{label}' and '{other}' were not applied to the same jets: their areas have no common error",
                got=f"{len(first)} and {len(jets)} jets, {len(np.intersect1d(first.event_id, jets.event_id))} in both",
                hint="compare experiments with one dataset, and the same split and selection",
            )


def _truths(tagged: TaggedJets) -> NDArray[np.str_]:
    return np.array([*tagged.jets.truths, ""])[tagged.jets.truth]


def _rows(
    name: str, tagged: Mapping[str, Mapping[int, TaggedJets]], settings: TaggingSettings, members: Mapping[str, Members]
) -> Iterator[Row]:
    one = settings.model_copy(update={"discriminators": (name,)})
    for label, seeds in tagged.items():
        values = []
        for jets in seeds.values():
            (found,) = discriminators(one, jets.classes, jets.jets.truths, members.get(label)).values()
            values.append(found.values(jets.probabilities))
        yield _row(label, found, values, jets.jets, settings)
    label, seeds = next(iter(tagged.items()))
    first = next(iter(seeds.values()))
    (found,) = discriminators(one, first.classes, first.jets.truths, members.get(label)).values()
    for baseline, _, directed in baseline_values(first, found, settings):
        yield _row(baseline, found, [directed], first.jets, settings)


def _row(name: str, found: Discriminator, values: Sequence[Floats], jets: Jets, settings: TaggingSettings) -> Row:
    masks = found.is_signal(jets.truth), found.is_background(jets.truth)
    areas = [area(each, jets, signal=masks[0], background=masks[1]) for each in values]
    spread = float(np.std([a.value for a in areas], ddof=1)) if len(areas) > 1 else None
    return Row(name, found.name, mean(areas), spread, tuple(_rejections(values[0], jets, masks, settings)))


def _rejections(values: Floats, jets: Jets, masks: tuple[Bools, Bools], settings: TaggingSettings) -> list[Rejection]:
    chosen = [mask & (jets.weight > 0) for mask in masks]
    classes = two_classes(*(values[mask] for mask in chosen), *(jets.weight[mask] for mask in chosen))
    level, need = settings.confidence_level, settings.min_jets
    return rejections(classes, SIGNAL_EFFICIENCIES, confidence_level=level, min_jets=need)


def _cells(row: Row) -> list[str]:
    text = f"{row.area.value:.4f} ± {row.area.error:.4f}"
    if row.seed_spread is not None:
        text += f" (seeds: ± {row.seed_spread:.4f})"
    return [row.name, text, *(_rejection_text(rejection) for rejection in row.rejections)]


def _rejection_text(found: Rejection) -> str:
    if found.reason is not None:
        return found.reason
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: number(value) if isinstance(value, float) else value for key, value in values.items()}
