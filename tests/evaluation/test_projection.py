"""Maps to two dimensions keep what they should, and are the same every time."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from honeyguide.errors import ConfigError
from honeyguide.evaluation.projection import project, spread_evenly


def blobs(num_dims: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    kind = np.repeat([0, 1, 2], 60)
    return rng.normal(size=(180, num_dims)) + 20 * np.eye(num_dims)[kind], kind


def test_principal_components_are_the_directions_of_largest_variance() -> None:
    rng = np.random.default_rng(2)
    parts = rng.normal(size=(4000, 3)) * [5.0, 2.0, 0.1]
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    found = project(parts @ rotation.T + 7, "pca", seed=1)
    for index, spread in enumerate((5.0, 2.0)):
        assert abs(np.corrcoef(found.points[:, index], parts[:, index])[0, 1]) > 0.99
        assert found.points[:, index].std() == pytest.approx(spread, rel=0.1)
    assert found.axes[0] == f"PC 1 ({np.var(found.points[:, 0]) / np.var(parts, axis=0).sum():.0%} of the variance)"
    assert np.array_equal(found.points, project(parts @ rotation.T + 7, "pca", seed=2).points)


@pytest.mark.filterwarnings("ignore::ImportWarning")  # umap tries for a package of its own that it can do without
@pytest.mark.parametrize("kind", ["tsne", "umap"])
def test_neighbours_stay_together_and_the_seed_decides(kind) -> None:
    if kind == "umap" and importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn, an optional package, is not installed")
    values, group = blobs()
    points = project(values, kind, seed=3).points
    centres = np.stack([points[group == number].mean(axis=0) for number in range(3)])
    nearest = np.argmin(np.linalg.norm(points[:, None] - centres, axis=2), axis=1)
    assert (nearest == group).mean() > 0.98
    assert np.array_equal(points, project(values, kind, seed=3).points)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        project(blobs()[0], "umap", seed=1)


def test_groups_are_drawn_evenly_and_no_event_twice() -> None:
    group = np.repeat([0, 1, 2], [1000, 100, 10])
    rows = {str(number): group == number for number in range(3)}
    chosen = spread_evenly(rows, 150, np.random.default_rng(1))
    assert np.bincount(group[chosen]).tolist() == [50, 50, 10]
    assert len(np.unique(chosen)) == len(chosen)
    assert np.array_equal(chosen, spread_evenly(rows, 150, np.random.default_rng(1)))
    assert not np.array_equal(chosen, np.sort(chosen))  # later groups would be drawn over earlier ones
