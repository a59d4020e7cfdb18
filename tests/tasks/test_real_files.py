"""Files of experiments and published simulations by the shipped configs: jets and flavours as uproot counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from honeyguide.io.atomic import read_manifest
from honeyguide.io.event_store import EventStore
from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask

NANO = ("Events", "Jet_pt", "Jet_hadronFlavour", {"b": [5], "c": [4], "light": [0]})
DELPHES = ("Delphes", "Jet.PT", "Jet.Flavor", {"b": [5], "c": [4], "light": [0, 1, 2, 3, 21]})
LABEL = "AnalysisJetsAuxDyn.HadronConeExclTruthLabelID"
PHYSLITE = ("CollectionTree", "AnalysisJetsAuxDyn.pt", LABEL, {"b": [5], "c": [4], "tau": [15], "light": [0]})
CASES: dict[str, tuple[str, int, Any]] = {
    "nanoaod_v9": ("nanoAOD_2015_CMS_Open_Data_ttbar.root", 537, NANO),
    "nanoaod_v12": ("nano_tt_v12.root", 1504, NANO),
    "nanoaod_v15": ("nano_tt_v15.root", 1636, NANO),
    "nanoaod_rntuple": ("nano_dy_rntuple.root", 188, NANO),
    "pfnano": ("pfnano.root", 64, NANO),
    "scouting_nano": ("scouting_nano.root", 447, ("Events", "ScoutingPFJet_pt", None, {})),
    "delphes": ("delphes_ttbar.root", 74, DELPHES),
    "physlite": ("PHYSLITE_example.root", 881, PHYSLITE),
    "hzz": ("uproot-HZZ.root", 2773, ("events", "Jet_Px", None, {})),
}


@pytest.mark.parametrize("config", CASES)
def test_jets_and_flavours(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    name, num_jets, (tree, pt_branch, flavour_branch, codes) = CASES[config]
    path = shared_data / "root" / name
    block, counts = converted(config, path, tmp_path, monkeypatch)
    with uproot.open(path) as file:
        pt = file[tree][pt_branch].array()
        flavour = file[tree][flavour_branch].array() if flavour_branch else None
    assert len(block) == counts["selected"] == counts["read"] == int(ak.sum(ak.num(pt))) == num_jets
    np.testing.assert_array_equal(np.bincount(block.events["entry"], minlength=len(pt)), ak.num(pt))
    expected = {truth: sum(int(ak.sum(flavour == value)) for value in values) for truth, values in codes.items()}
    assert counts["truths"] == expected
    if codes:
        assert np.bincount(block.events["truth"], minlength=len(codes)).tolist() == list(expected.values())
    if config == "hzz":
        assert np.all(block.events["pt"] >= np.abs(ak.to_numpy(ak.flatten(pt))))
        with uproot.open(path) as file:
            z = ak.to_numpy(ak.flatten(file[tree]["Jet_Pz"].array()))
        np.testing.assert_allclose(block.events["pt"] * np.sinh(block.events["eta"]), z, rtol=1e-4, atol=1e-3)
    else:
        scale = 1000 if config == "physlite" else 1
        np.testing.assert_allclose(block.events["pt"], ak.to_numpy(ak.flatten(pt)) / scale, rtol=1e-6)


def test_candidates_and_vertices_of_pfnano(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "root" / "pfnano.root"
    block, _ = converted("pfnano", path, tmp_path, monkeypatch)
    with uproot.open(path) as file:
        constituents = file["Events"]["Jet_nConstituents"].array()
        vertices = file["Events"]["JetSVs_jetIdx"].array()
    found = block.collections["candidates"]
    np.testing.assert_array_equal(found.counts, ak.flatten(constituents))
    assert np.hypot(found.columns["deta"], found.columns["dphi"]).max() < 0.6
    assert len(block.collections["vertices"]) == int(ak.sum(vertices >= 0))


def test_secondary_vertices_of_v15(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "root" / "nano_tt_v15.root"
    block, _ = converted("nanoaod_v15", path, tmp_path, monkeypatch)
    with uproot.open(path) as file:
        index, mass = (file["Events"][name].array().to_list() for name in ("Jet_svIdx1", "SV_mass"))
    expected = [
        masses[place] if 0 <= place < len(masses) else -1
        for places, masses in zip(index, mass, strict=True)
        for place in places
    ]
    np.testing.assert_allclose(block.events["sv_mass"], expected, rtol=1e-6)
    assert (block.events["sv_mass"] > 0).sum() > 100


def converted(config: str, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """Returns the rows of a file, converted by the shipped config, and the counts in the manifest."""
    monkeypatch.setenv("HONEYGUIDE_STORE", str(folder / "store"))
    HoneyguideTask.clear_instance_cache()
    (folder / "files.txt").write_text(f"{path}\n")
    task = DatasetConstructorTask(config=config, filelist=str(folder / "files.txt"))
    (branch,) = task.get_branch_tasks().values()
    branch.publish_message = print
    branch.run()
    (shards,) = task.shards().values()
    with EventStore(shards[0]) as store:
        (block,) = store.iter_blocks()
    return block, read_manifest(branch.output().folder)["metadata"]["counts"]
