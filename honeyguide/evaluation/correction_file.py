"""Working points as a file for correctionlib (schema version 2): thresholds, and efficiencies with their intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Context
from pathlib import Path
from typing import Any, Literal

from honeyguide.errors import DataError
from honeyguide.evaluation.efficiencies import Efficiencies
from honeyguide.evaluation.tagging_points import TaggingPoint, TaggingPoints

Node = dict[str, Any]
Flow = Literal["clamp", "error"]
_SYSTEMATICS = {"central": "value", "up": "high", "down": "low"}


def write_corrections(path: Path, results: Sequence[TaggingPoints], *, description: str, flow: Flow = "clamp") -> None:
    """Writes the corrections of some working points, see :func:`corrections`, as JSON.

    Args:
        path: The file.
        results: Working points of different discriminators.
        description: Of the whole file: tagger, training, jets.
        flow: Of pt and eta.
    """
    values = corrections(results, description=description, flow=flow)
    path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


def corrections(results: Sequence[TaggingPoints], *, description: str, flow: Flow = "clamp") -> dict[str, Any]:
    """Returns a set of corrections as JSON types: two for each result.

    ``NAME_threshold(working_point, discriminator)`` and ``NAME_efficiency(systematic, working_point, flavour, abs_eta,
    pt)``; ``NAME`` is that of the discriminator, or of the pair, joined by ``_``; the systematic is ``central``, ``up``
    or ``down`` (ends of the interval); ``abs_eta`` is ``eta`` where the bins are. A jet passes if all its
    discriminators are >= their thresholds, which are cut to 15 digits. What is not defined raises an error when it is
    asked for, and stands in the file with the reason; nothing else is put in its place.

    Args:
        results: Working points of different discriminators.
        description: Of the whole file.
        flow: Of jets outside of the bins of pt and eta: ``clamp``: those of the nearest bin; ``error``: an error.

    Raises:
        DataError: A threshold is infinite, which JSON has not.
    """
    made = [make(result, flow) for result in results for make in (_thresholds, _efficiencies)]
    return {"schema_version": 2, "description": description, "corrections": made}


def _thresholds(result: TaggingPoints, _: Flow) -> Node:
    points = {point.name: _threshold(result, point) for point in result.points}
    return _correction(
        f"{'_'.join(result.discriminators)}_threshold",
        "Thresholds of the working points: a jet passes if all its discriminators are >= their thresholds.",
        [_variable("working_point", "string"), _variable("discriminator", "string")],
        _variable("threshold", "real"),
        _category("working_point", points),
    )


def _threshold(result: TaggingPoints, point: TaggingPoint) -> Node:
    if point.reason is not None:
        return _not_defined("discriminator", point.reason)
    if not all(map(math.isfinite, point.thresholds)):
        raise DataError(
            f"the working point '{point.name}' has an infinite threshold, which can't be in a JSON file",
            where=", ".join(result.discriminators),
            hint="with the classes of the numerator in the denominator, too, no discriminator is above 1",
        )
    return _category("discriminator", dict(zip(result.discriminators, map(_not_above, point.thresholds), strict=True)))


def _not_above(threshold: float) -> float:
    """Returns the threshold cut to 15 digits.

    correctionlib's parser rounds numbers of more digits wrongly at times; above the threshold by the last bit, it would
    cut off the very jets that set the threshold.
    """
    return float(Context(prec=15, rounding=ROUND_FLOOR).create_decimal(threshold))


def _efficiencies(result: TaggingPoints, flow: Flow) -> Node:
    eta = "abs_eta" if result.bins.absolute_eta else "eta"
    words = "are counted in the nearest bin" if flow == "clamp" else "are errors"
    data = {systematic: _systematic(result, systematic, eta, flow) for systematic in _SYSTEMATICS}
    return _correction(
        f"{'_'.join(result.discriminators)}_efficiency",
        f"Efficiencies of the working points; jets outside of the bins in pt and {eta} {words}.",
        [
            _variable("systematic", "string", "central, or up and down: the ends of the interval"),
            _variable("working_point", "string"),
            _variable("flavour", "string", f"true flavour: {', '.join(result.truths)}"),
            _variable(eta, "real"),
            _variable("pt", "real", "in GeV"),
        ],
        _variable("efficiency", "real"),
        _category("systematic", data),
    )


def _systematic(result: TaggingPoints, systematic: str, eta: str, flow: Flow) -> Node:
    points = {}
    for index, point in enumerate(result.points):
        flavours = {
            name: {
                "nodetype": "multibinning",
                "inputs": [eta, "pt"],
                # correctionlib takes no integers, which the default bins have
                "edges": [[float(edge) for edge in edges] for edges in (result.bins.eta, result.bins.pt)],
                "content": _cells(result.binned, index, code, systematic),
                "flow": flow,
            }
            for code, name in enumerate(result.truths)
        }
        defined = point.reason is None
        points[point.name] = _category("flavour", flavours) if defined else _not_defined("flavour", point.reason)
    return _category("working_point", points)


def _cells(table: Efficiencies, index: int, code: int, systematic: str) -> list[float | Node]:
    """Returns the contents of all bins, eta by eta, as the format wants them."""
    num_pt, num_eta = table.effective.shape[1:]
    values = getattr(table, _SYSTEMATICS[systematic])[index, code]
    cells: list[float | Node] = []
    for j in range(num_eta):
        for i in range(num_pt):
            reason = table.reason(code, i, j)
            cells.append(float(values[i, j]) if reason is None else _not_defined("flavour", reason))
    return cells


def _not_defined(variable: str, reason: str | None) -> Node:
    """Returns a node that raises an error when it is evaluated: no value of the variable is the reason."""
    return _category(variable, {f"not defined: {reason}": 0.0})


def _category(variable: str, values: Mapping[str, float | Node]) -> Node:
    items = [{"key": key, "value": value} for key, value in values.items()]
    return {"nodetype": "category", "input": variable, "content": items}


def _variable(name: str, kind: str, description: str = "") -> Node:
    return {"name": name, "type": kind, "description": description}


def _correction(name: str, description: str, inputs: list[Node], output: Node, data: Node) -> Node:
    return {
        "name": name,
        "description": description,
        "version": 1,
        "inputs": inputs,
        "output": output,
        "data": data,
    }
