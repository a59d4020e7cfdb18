"""How well every signal point is found, and how that depends on the parameters of the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.evaluation.auc import delong
from honeyguide.evaluation.bootstrap import bootstrap
from honeyguide.evaluation.events import ScoredEvents, read_events
from honeyguide.evaluation.roc import Floats, roc_curve, two_classes
from honeyguide.evaluation.settings import RocSettings
from honeyguide.evaluation.working_points import working_points
from honeyguide.plotting.signal_points import Figures, PointValue, groups_figure, overview_figure

REPLICAS = 100
SCORE = "total"
TITLE = "Signal points"


@dataclass(frozen=True)
class Metric:
    """A number per signal point.

    Attributes:
        name: ``auc``, or ``efficiency_0.01``: the signal efficiency at that background efficiency.
        label: Of axes.
        target: The background efficiency; None for the AUC.
    """

    name: str
    label: str
    target: float | None


@dataclass(frozen=True)
class Measured:
    """One metric of one signal point.

    Attributes:
        value: The number; None where too few background events pass.
        low: Lower end of the 68 % interval.
        high: Upper end.
        replicas: What bootstrap replicas of the events give, (num_replicas,), finite.
    """

    value: float | None
    low: float
    high: float
    replicas: Floats


def section(context: Context) -> Section:
    """Returns AUC and signal efficiencies of every signal point, and their spread by each parameter of the points."""
    if not context.model.is_detector:
        return not_made("signal_points", TITLE, "this model is no anomaly detector: its scores look for no signal.")
    if not context.sources.scores:
        return not_made("signal_points", TITLE, "there are no scores of this training.")
    settings = RocSettings(scores=(SCORE,))
    events = read_events(context.sources.scores, settings)
    if not events.signal_names or not events.generator_names:
        return not_made("signal_points", TITLE, "the test events hold no signal or no background.")
    metrics = [Metric("auc", "AUC", None)]
    for target in settings.background_efficiencies:
        label = rf"$\varepsilon_\mathrm{{S}}$ at $\varepsilon_\mathrm{{B}}$ = {target:g}"
        metrics.append(Metric(f"efficiency_{target:g}", label, target))
    found = {name: measure(events, name, metrics, settings, seed=context.settings.seed) for name in events.signal_names}
    known = [m for m in metrics if any(points[m.name].value is not None for points in found.values())]
    plots = _overview(found, known) + _by_parameter(found, known)
    text = f"Score {SCORE}, all generators counting the same; 68 % intervals from the statistics of both classes."
    if missing := [f"{m.target:g}" for m in metrics if m not in known]:
        text += f" Too few background events pass at background efficiency {' and '.join(missing)}: nothing is shown."
    data = {
        name: {key: {"value": m.value, "low": m.low, "high": m.high} for key, m in points.items()}
        for name, points in found.items()
    }
    return Section("signal_points", TITLE, text, data, tuple(plots), (_table(found, known),))


def parameters(signal: str) -> dict[str, float]:
    """Returns the parameters of a signal point by name: ``mass=3500,r_inv=0.3``; none, where it has none."""
    pairs = (item.partition("=") for item in signal.split(",") if "=" in item)
    return {key: float(value) for key, _, value in pairs}


def measure(
    events: ScoredEvents, signal: str, metrics: Sequence[Metric], settings: RocSettings, *, seed: int
) -> dict[str, Measured]:
    """Returns every metric of a signal point against the background of all generators."""
    chosen = events.signal_index == events.signal_names.index(signal)
    background = events.label == 0
    scores = events.scores[SCORE]
    classes = two_classes(scores[chosen], scores[background], events.weight[chosen], events.weight[background])
    level, targets = settings.confidence_level, tuple(m.target for m in metrics if m.target is not None)
    area = delong(classes, level)
    points = working_points(
        roc_curve(classes), targets, confidence_level=level, min_background_events=settings.min_background_events
    )
    drawn = bootstrap(classes, targets, num_replicas=REPLICAS, seed=seed, lowest_efficiency=None)
    found = {"auc": Measured(area.value, area.low, area.high, _finite(drawn.auc))}
    others = [metric for metric in metrics if metric.target is not None]
    for metric, point, column in zip(others, points, drawn.signal_efficiency.T, strict=True):
        value = point.signal_efficiency if point.reason is None else None
        found[metric.name] = Measured(value, point.low, point.high, _finite(column))
    return found


def group_points(
    found: dict[str, dict[str, Measured]], metric: str, parameter: str
) -> dict[float, list[tuple[str, Measured]]]:
    """Returns the signal points by the value of a parameter, sorted; points without either are left out."""
    groups: dict[float, list[tuple[str, Measured]]] = {}
    for signal, points in found.items():
        value = parameters(signal).get(parameter)
        if value is not None and points[metric].value is not None:
            groups.setdefault(value, []).append((signal, points[metric]))
    return dict(sorted(groups.items()))


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _overview(found: dict[str, dict[str, Measured]], metrics: Sequence[Metric]) -> list[Plot]:
    plots = []
    areas = {name: {"AUC": _shown(name, points["auc"])} for name, points in found.items()}
    figure = overview_figure(areas, axis="AUC", reference=0.5)
    caption = "Bars are 68 % intervals; the dotted line is a score that knows nothing."
    plots.append(Plot("signal_points_auc", "AUC of each signal point", caption, figure))
    targets = [metric for metric in metrics if metric.target is not None]
    if targets:
        rows = {
            name: {
                rf"$\varepsilon_\mathrm{{B}}$ = {metric.target:g}": _shown(name, points[metric.name])
                for metric in targets
                if points[metric.name].value is not None
            }
            for name, points in found.items()
        }
        axis = r"signal efficiency $\varepsilon_\mathrm{S}$" if len(targets) > 1 else targets[0].label
        figure = overview_figure(rows, axis=axis, reference=None, log=True)
        caption = "At fixed background efficiencies; bars are 68 % intervals."
        plots.append(Plot("signal_points_efficiency", "Signal efficiency of each signal point", caption, figure))
    return plots


def _by_parameter(found: dict[str, dict[str, Measured]], metrics: Sequence[Metric]) -> list[Plot]:
    names = dict.fromkeys(name for signal in found for name in parameters(signal))
    plots = []
    for metric in metrics:
        for parameter in names:
            groups = group_points(found, metric.name, parameter)
            if len(groups) < 2:  # nothing to compare
                continue
            shown: Figures = {
                value: [_shown(signal, measured, without=parameter) for signal, measured in points]
                for value, points in groups.items()
            }
            what = "AUC" if metric.target is None else f"signal efficiency at background efficiency {metric.target:g}"
            plots.append(
                Plot(
                    f"signal_points_{metric.name}_by_{parameter}",
                    f"{what[0].upper()}{what[1:]} by {parameter}",
                    "Points are signal points with 68 % intervals. Where a group has three or more, the violin and the "
                    "box (quartiles, whiskers from 5 to 95 %) hold the bootstrap replicas of all its points: the "
                    "spread between points and their statistics together.",
                    groups_figure(shown, parameter=parameter, axis=metric.label),
                )
            )
    return plots


def _shown(signal: str, measured: Measured, *, without: str = "") -> PointValue:
    rest = ",".join(item for item in signal.split(",") if "=" in item and item.partition("=")[0] != without)
    assert measured.value is not None
    return PointValue(rest, measured.value, measured.low, measured.high, measured.replicas)


def _table(found: dict[str, dict[str, Measured]], metrics: Sequence[Metric]) -> Table:
    columns = ["signal point"]
    for metric in metrics:
        columns.append("AUC" if metric.target is None else f"efficiency at {metric.target:g}")
        columns.append("68 % interval")
    rows: list[tuple[Any, ...]] = []
    for name, points in found.items():
        row: list[Any] = [name]
        for metric in metrics:
            m = points[metric.name]
            row += [None, None] if m.value is None else [float(f"{m.value:.3g}"), f"{m.low:.3g} to {m.high:.3g}"]
        rows.append(tuple(row))
    return Table(f"Score {SCORE}", tuple(columns), tuple(rows))
