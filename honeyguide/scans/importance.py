"""How much of an objective's variance over a scan each setting accounts for: functional ANOVA with trees.

Hutter, Hoos, Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.scans.space import Choices, Point, Range, Space

Floats = NDArray[np.float64]
TOGETHER = "together"
_TREES = 100


@dataclass(frozen=True)
class Share:
    """What one setting accounts for.

    Attributes:
        key: The setting; ``together`` for what no single one accounts for: combinations of several, and noise.
        value: Share of the variance of the objective over the scanned space, 0 to 1.
        error: Its standard deviation for other points of as many.
    """

    key: str
    value: float
    error: float


def fewest_points(space: Space) -> int:
    """Returns the number of points below which shares mean nothing."""
    return 2 * len(space) + 2


def shares(space: Space, points: Sequence[Point], objective: Sequence[float], *, seed: int = 1) -> list[Share]:
    """Returns the share of every setting in the variance, the largest first, ``together`` at the end.

    Values are weighed as the scan draws them: choices equally, numbers equally dense over their range or its logarithm.
    Each of 100 regression trees is grown on points drawn with replacement; value and error are mean and standard
    deviation over the trees. A tree knows nothing of what was not tried: few points make large errors.

    Args:
        space: What is varied.
        points: At least :func:`fewest_points`.
        objective: A number for each point.
        seed: Of the draws.
    """
    from sklearn.tree import DecisionTreeRegressor

    places, values = places_of(space, points), np.asarray(objective, np.float64)
    draw = np.random.default_rng(seed)
    found = []
    for number in range(_TREES):
        rows = draw.integers(len(values), size=len(values))
        tree = DecisionTreeRegressor(random_state=seed + number).fit(places[rows], values[rows])
        found.append(_tree_shares(tree.tree_, len(space)))
    known = np.array([row for row in found if row is not None])
    if not len(known):  # the objective is the same everywhere
        known = np.zeros((1, len(space) + 1))
    mean, error = known.mean(0), known.std(0)
    single = [Share(key, float(mean[i]), float(error[i])) for i, key in enumerate(space)]
    rest = Share(TOGETHER, float(mean[-1]), float(error[-1]))
    return [*sorted(single, key=lambda share: -share.value), rest]


def places_of(space: Space, points: Sequence[Point]) -> Floats:
    """Returns where the points are in the unit cube on which the scan is uniform, (num_points, num_keys)."""
    columns = [[_place(values, point[key]) for point in points] for key, values in space.items()]
    return np.array(columns, np.float64).T


def _place(values: Choices | Range, text: str) -> float:
    if isinstance(values, Choices):
        return (values.texts.index(text) + 0.5) / len(values.texts)
    at, low, high = float(text), values.low, values.high
    if values.whole:
        at, high = at + 0.5, high + 1
    return math.log(at / low) / math.log(high / low) if values.log else (at - low) / (high - low)


def _tree_shares(tree: Any, num_keys: int) -> Floats | None:
    """Returns the share of each key and of what is left in the variance of a tree's prediction over the unit cube."""
    low, high, value = _leaves(tree, num_keys)
    size = high - low
    volume = size.prod(1)
    mean = float(volume @ value)
    variance = float(volume @ (value - mean) ** 2)
    if variance <= 1e-12 * max(mean**2, 1e-300):
        return None
    single = np.zeros(num_keys)
    for key in range(num_keys):
        others = np.delete(size, key, axis=1).prod(1)
        edges = np.unique(np.concatenate([low[:, key], high[:, key]]))
        middles = (edges[1:] + edges[:-1]) / 2
        inside = (low[:, None, key] < middles) & (middles < high[:, None, key])
        marginal = (others * (value - mean)) @ inside
        single[key] = np.diff(edges) @ marginal**2
    return np.append(single, max(variance - single.sum(), 0.0)) / variance


def _leaves(tree: Any, num_keys: int) -> tuple[Floats, Floats, Floats]:
    """Returns lower corners, upper corners and values of the boxes into which a tree cuts the unit cube."""
    found = []
    waiting = [(0, np.zeros(num_keys), np.ones(num_keys))]
    while waiting:
        node, low, high = waiting.pop()
        if tree.children_left[node] < 0:
            found.append((low, high, tree.value[node].item()))
            continue
        key, cut = tree.feature[node], tree.threshold[node]
        below, above = high.copy(), low.copy()
        below[key] = above[key] = cut
        waiting += [(tree.children_left[node], low, below), (tree.children_right[node], above, high)]
    lows, highs, values = zip(*found, strict=True)
    return np.array(lows), np.array(highs), np.array(values)
