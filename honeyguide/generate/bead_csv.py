"""Events as BEAD's CSV: one event per row, ragged."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

BEAD_HEADER = "evtwt,met,metphi,njets,npart,isbtagged,pid,pt,eta,phi"
_BLOCK = 1000


def write_bead_csv(path: Path, events: ak.Array) -> None:
    """Writes the events to ``path``, GeV and radians, 7 significant digits.

    A row is ``evtwt, met, metphi, njets, {npart, isbtagged, {pid, pt, eta, phi} * npart} * njets``, without padding.

    Args:
        path: File to write.
        events: ``num_events * {weight, met, met_phi, particles, jets}`` as made by ``simulate``.
    """
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(BEAD_HEADER + "\n")
        for start in range(0, len(events), _BLOCK):
            cells, offsets = _cells(events[start : start + _BLOCK])
            # one C-level format per event: about 0.2 us per cell
            for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
                file.write(",".join(["%.7g"] * (end - begin)) % tuple(cells[begin:end].tolist()) + "\n")


def _cells(events: ak.Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the cells of all rows, flat, and the offsets of the rows."""
    jets = events.jets
    num_jets = ak.to_numpy(ak.num(jets))
    sizes = ak.to_numpy(ak.flatten(ak.num(jets.constituents, axis=2))).astype(np.int64)
    jet_cells = _offsets(2 + 4 * sizes)
    event_of_jet = np.repeat(np.arange(len(events)), num_jets)
    first_jet = _offsets(num_jets)
    offsets = jet_cells[first_jet] + 4 * np.arange(len(events) + 1)
    cells = np.empty(offsets[-1])
    for place, column in enumerate((events.weight, events.met, events.met_phi, num_jets)):
        cells[offsets[:-1] + place] = ak.to_numpy(column)
    jet_start = jet_cells[:-1] + 4 * (event_of_jet + 1)
    cells[jet_start] = sizes
    cells[jet_start + 1] = ak.to_numpy(ak.flatten(jets.btag))
    within = np.arange(sizes.sum()) - np.repeat(_offsets(sizes)[:-1], sizes)
    constituent_start = np.repeat(jet_start + 2, sizes) + 4 * within
    chosen = ak.flatten(events.particles[ak.flatten(jets.constituents, axis=2)])
    for place, name in enumerate(("pdg_id", "pt", "eta", "phi")):
        cells[constituent_start + place] = ak.to_numpy(chosen[name])
    return cells, offsets


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
