"""Small ROOT files that tests write, and settings as configs give them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from honeyguide.data.events import Collection, EventBlock
from honeyguide.io.root_reader import RootFile
from honeyguide.io.root_settings import RootReaderSettings

JET_COUNTS = np.array([2, 0, 3, 1, 1, 0, 2, 4])


def reader_settings(**values: Any) -> RootReaderSettings:
    # as configs are parsed: strict, from JSON
    return RootReaderSettings.model_validate_json(json.dumps({"tree": "Events", **values}), strict=True)


def jets_tree(repeats: int = 1, seed: int = 0) -> dict[str, Any]:
    """Branches as NanoAOD's: jets, candidates that know their jet, one value per entry."""
    rng = np.random.default_rng(seed)
    counts = np.tile(JET_COUNTS, repeats)
    jets = {name: _lists(rng.normal(size=counts.sum()).astype(np.float32), counts) for name in ("eta", "phi")}
    pt = _lists(rng.exponential(50, counts.sum()).astype(np.float32) + 1, counts)
    flavour = _lists(rng.choice(np.array([0, 4, 5], np.uint8), counts.sum()), counts)
    # candidates in any order, some of no jet
    num = np.where(counts > 0, rng.integers(0, 6, len(counts)), 0)
    place = (rng.random(num.sum()) * (np.repeat(counts, num) + 1)).astype(np.int32) - 1
    return {
        **{"Jet_pt": pt, "Jet_eta": jets["eta"], "Jet_phi": jets["phi"], "Jet_hadronFlavour": flavour},
        **{"Cand_jetIdx": _lists(place, num), "Cand_pt": _lists(rng.random(num.sum()).astype(np.float32), num)},
        "MET_pt": rng.exponential(30, len(counts)).astype(np.float32),
    }


def write_tree(path: Path, branches: dict[str, Any], *, tree: str = "Events", batches: int = 1) -> Path:
    """Returns ``path``, written with a TTree of one basket per batch and branch."""
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: _kind(values) for name, values in branches.items()})
        for part in _parts(branches, batches):
            file[tree].extend(part)
    return path


def write_ntuple(path: Path, branches: dict[str, Any], *, batches: int = 1) -> Path:
    """Returns ``path``, written with an RNTuple of one cluster per batch."""
    first, *others = _parts(branches, batches)
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", first)
        for part in others:
            file["Events"].extend(part)
    return path


def read(path: Path, settings: RootReaderSettings) -> tuple[EventBlock, RootFile]:
    """All blocks of a file as one, and the counts."""
    file = RootFile(path, settings, process="tt")
    return joined(list(file.iter_blocks())), file


def joined(blocks: list[EventBlock]) -> EventBlock:
    collections = {}
    for name, collection in blocks[0].collections.items():
        counts = np.concatenate([block.collections[name].counts for block in blocks])
        columns = {
            key: np.concatenate([block.collections[name].columns[key] for block in blocks])
            for key in collection.columns
        }
        collections[name] = Collection("events", np.concatenate([[0], np.cumsum(counts)]), columns)
    events = {key: np.concatenate([block.events[key] for block in blocks]) for key in blocks[0].events}
    return EventBlock(events, collections)


def _lists(content: np.ndarray, counts: np.ndarray) -> ak.Array:
    return ak.unflatten(content, counts)


def _parts(branches: dict[str, Any], batches: int) -> list[dict[str, Any]]:
    edges = np.linspace(0, len(next(iter(branches.values()))), batches + 1).astype(int)
    return [{name: values[low:high] for name, values in branches.items()} for low, high in pairwise(edges)]


def _kind(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values.dtype if values.ndim == 1 else (values.dtype, values.shape[1:])
    return str(values.type).split(" * ", 1)[1]
