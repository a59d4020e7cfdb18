"""Reweighting of rows in a training: as weights in the loss, or by sampling anew in every epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.reweighting import JetBlock, Reweighting, read_reweighting
from honeyguide.errors import DataError, StoreError

REWEIGHTING = "reweighting.json"
_BLOCK = 1 << 16


@dataclass(frozen=True)
class RowSampling:
    """Which rows take part in an epoch: each with the probability that its truth, pt and eta have.

    That depends on the row's id, the seeds and the epoch alone.

    Attributes:
        reweighting: Says the probabilities.
        seed: Of the training; another one samples otherwise.
    """

    reweighting: Reweighting
    seed: int

    def kept(self, source: ModelInputs, epoch: int) -> NDArray[np.bool_]:
        """Returns which rows of a source take part, shape (num_rows,)."""
        draw = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        kept = [
            self.reweighting.kept(jet_block(source, rows), source.event_id[rows], draw=draw)
            for rows in blocks_of(source)
        ]
        return np.concatenate(kept) if kept else np.zeros(0, np.bool_)


def read_row_reweighting(folder: Path) -> Reweighting | None:
    """Returns the reweighting of a folder of model inputs, None where it has none.

    Raises:
        StoreError: It is damaged.
    """
    path = folder / REWEIGHTING
    if not path.exists():
        return None
    try:
        return read_reweighting(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("the reweighting is damaged", where=path, got=repr(error)) from error


def jet_blocks(source: ModelInputs) -> Iterator[JetBlock]:
    """Yields truth, pt and eta of the rows of a source, without weights."""
    for rows in blocks_of(source):
        yield jet_block(source, rows)


def jet_block(source: ModelInputs, rows: slice, weight: NDArray[np.float64] | None = None) -> JetBlock:
    """Returns truth, pt and eta of some rows.

    Raises:
        DataError: The model inputs are not those of rows.
    """
    if source.truth is None or source.pt is None or source.eta is None:
        raise DataError("only rows can be reweighted, and these model inputs have no truth, pt and eta")
    return JetBlock(source.truth[rows], source.pt[rows], source.eta[rows], weight)


def blocks_of(source: ModelInputs) -> Iterator[slice]:
    """Yields the rows of a source, many at a time."""
    for start in range(0, len(source), _BLOCK):
        yield slice(start, min(start + _BLOCK, len(source)))
