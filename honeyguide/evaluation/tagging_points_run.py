"""Working points of a tagger, from score files to numbers, a file for correctionlib and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from honeyguide.errors import ConfigError
from honeyguide.evaluation.correction_file import write_corrections
from honeyguide.evaluation.discriminators import discriminators, in_truths
from honeyguide.evaluation.tagged_jets import TaggedJets, read_tagged_jets
from honeyguide.evaluation.tagging_points import TaggingPoints, plane_points, tagging_points
from honeyguide.evaluation.tagging_result import Plane
from honeyguide.evaluation.tagging_settings import TaggingSettings

SCHEMA = 1


def evaluate_working_points(
    seeds: Mapping[int, Mapping[str, Path]],
    folder: Path,
    *,
    settings: TaggingSettings,
    name: str,
    members: Mapping[str, Sequence[str]] | None = None,
) -> dict[int, list[TaggingPoints]]:
    """Returns the working points of each seed of a training, which is another tagger; writes them to ``folder``.

    Files: ``working_points.json``, ``corrections_seed<seed>.json`` for correctionlib, figures (PNG, PDF) of the
    efficiencies against pt and eta, and of the plane of two discriminators.

    Args:
        seeds: Seed to its samples, each with its file of scores.
        folder: Where to write; it exists.
        settings: Working points, bins, uncertainties.
        name: Of the tagger, for figures and descriptions.
        members: Class to its truths, where they have other names than the class.

    Raises:
        ConfigError: No working point or training is given; a class or group of the settings does not exist.
        DataError: Scores are not those of a tagger; there are no jets of a class; a threshold is infinite.
    """
    from honeyguide.plotting.tagging_points import draw_points  # matplotlib is slow to import

    if not seeds:
        raise ConfigError("there is no training to evaluate")
    results: dict[int, list[TaggingPoints]] = {}
    entries = []
    for seed, samples in seeds.items():
        tagged = read_tagged_jets(samples, weighted=settings.weighted)
        results[seed], plane = compute_points(tagged, settings=settings, members=members)
        entries.append({"seed": seed, "jets": tagged.counts(), "results": [r.to_json() for r in results[seed]]})
        title = f"{name}, seed {seed}"
        write_corrections(folder / f"corrections_seed{seed}.json", results[seed], description=f"tagger: {title}")
        draw_points(results[seed], plane, folder, suffix=f"seed{seed}", title=title)
    content = {"schema": SCHEMA, "tagger": name, "settings": settings.model_dump(mode="json"), "seeds": entries}
    (folder / "working_points.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return results


def compute_points(
    tagged: TaggedJets, *, settings: TaggingSettings, members: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[TaggingPoints], Plane | None]:
    """Returns the working points of every discriminator and of the plane, and the jets in the plane if there is one.

    Args:
        tagged: The jets.
        settings: As of :func:`evaluate_working_points`.
        members: As of :func:`evaluate_working_points`.

    Raises:
        ConfigError: As of :func:`evaluate_working_points`.
        DataError: There are no jets of a class; probabilities are not finite or negative.
    """
    in_plane = settings.plane if settings.plane_points else ()
    names = tuple(dict.fromkeys([*settings.working_points, *in_plane]))
    if not names:
        raise ConfigError("there are no working points", where="tagging.working_points and tagging.plane_points")
    wanted = settings.model_copy(update={"discriminators": names})
    found = discriminators(wanted, tagged.classes, tagged.jets.truths, members)
    values = {key: item.values(tagged.probabilities) for key, item in found.items()}
    by_truth = in_truths(settings, members or {})
    results = [
        tagging_points(values[key], tagged.jets, discriminator=found[key], points=points, settings=by_truth)
        for key, points in settings.working_points.items()
    ]
    if not in_plane:
        return results, None
    first, second = in_plane
    pair, both = (found[first], found[second]), (values[first], values[second])
    plane = Plane(both, tagged.jets, pair, plane_points(both, tagged.jets, pair=pair, settings=by_truth))
    return [*results, plane.points], plane


def points_summary(results: Mapping[int, Sequence[TaggingPoints]]) -> str:
    """Returns a line per seed and working point: thresholds, mis-identification, efficiency of each truth."""
    rows = [("seed", "discriminator", "working point", "threshold", "efficiencies")]
    for seed, tables in results.items():
        for table in tables:
            for index, point in enumerate(table.points):
                head = (str(seed), ", ".join(table.discriminators), point.name)
                if point.reason is not None:
                    rows.append((*head, "not defined", point.reason))
                    continue
                shown = zip(table.truths, table.inclusive.value[index], strict=True)
                efficiencies = ", ".join(f"{truth} {value:.3g}" for truth, value in shown if value == value)
                rows.append((*head, ", ".join(f"{value:.4g}" for value in point.thresholds), efficiencies))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
