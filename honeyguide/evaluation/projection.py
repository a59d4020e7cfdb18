"""Maps of many dimensions to two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import ConfigError

Floats = NDArray[np.float64]
Kind = Literal["pca", "tsne", "umap"]
MAX_PERPLEXITY = 30.0
ANGLE = 0.8  # of Barnes and Hut's approximation: two thirds of the time of 0.5, and the loss grows by 1 %


@dataclass(frozen=True)
class Projected:
    """Points in a plane.

    Attributes:
        points: (num_events, 2).
        axes: What the two axes are.
    """

    points: Floats
    axes: tuple[str, str]


def project(values: NDArray[np.floating[Any]], kind: Kind, *, seed: int) -> Projected:
    """Returns the events in a plane; the same values and seed give the same points.

    Args:
        values: (num_events, num_dims), two dimensions and four events at least.
        kind: ``pca``: the two directions of largest variance. ``tsne``: van der Maaten and Hinton, JMLR 9 (2008) 2579,
            from the principal components on. ``umap``: arXiv:1802.03426.
        seed: Seed of what is random.

    Raises:
        ConfigError: ``umap`` without the package umap-learn.
    """
    table: Floats = np.asarray(values, dtype=np.float64)
    if kind == "pca":
        return _pca(table)
    if kind == "umap":
        return Projected(_umap(table, seed), ("UMAP 1", "UMAP 2"))
    from sklearn.manifold import TSNE

    perplexity = min(MAX_PERPLEXITY, (len(table) - 1) / 3)
    points = TSNE(init="pca", perplexity=perplexity, angle=ANGLE, random_state=seed).fit_transform(table)
    return Projected(np.asarray(points, dtype=np.float64), ("t-SNE 1", "t-SNE 2"))


def spread_evenly(groups: Mapping[str, NDArray[np.bool_]], total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns the rows of about ``total`` events, as many of every group where it has them, in random order."""
    share = max(total // max(len(groups), 1), 1)
    picked = []
    for rows in groups.values():
        places = np.flatnonzero(rows)
        picked.append(rng.choice(places, min(share, len(places)), replace=False))
    everything = np.unique(np.concatenate(picked)) if picked else np.zeros(0, dtype=np.int64)
    return np.asarray(rng.permutation(everything), dtype=np.int64)


def _pca(values: Floats) -> Projected:
    centred = values - values.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    share = singular**2 / max(float(np.sum(singular**2)), 1e-300)
    # the sign of a direction is arbitrary: the largest part is positive
    largest = np.argmax(np.abs(directions[:2]), axis=1)
    directions = directions[:2] * np.sign(directions[np.arange(2), largest])[:, None]
    axes = (f"PC 1 ({share[0]:.0%} of the variance)", f"PC 2 ({share[1]:.0%} of the variance)")
    return Projected(centred @ directions.T, axes)


def _umap(values: Floats, seed: int) -> Floats:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError(
            "the projection umap needs a package that is not installed",
            where="diagnostics.projections",
            got=error,
            allowed="pca, tsne; umap with the package umap-learn",
            hint="pip install 'honeyguide[umap]', or pip install umap-learn",
        ) from error
    neighbours = min(15, len(values) - 1)
    points = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(values)
    return np.asarray(points, dtype=np.float64)
