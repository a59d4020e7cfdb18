"""Files of real experiments and published simulations: jets and flavours as a direct read with uproot counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from tests.root_files import read, reader_settings

NANO = {"rows": "objects", "columns": {"pt": "Jet_pt", "eta": "Jet_eta", "run": "run"}}
FLAVOUR = {
    "b": [{"Jet_hadronFlavour": [5]}],
    "c": [{"Jet_hadronFlavour": [4]}],
    "light": [{"Jet_hadronFlavour": [0]}],
}


def direct(path: Path, tree: str, *branches: str) -> list[ak.Array]:
    with uproot.open(path) as file:
        return [file[tree][branch].array() for branch in branches]


@pytest.mark.parametrize(
    ("name", "num_jets"),
    [
        ("nano_tt_v15.root", 1636),
        ("nano_tt_v12.root", 1504),
        ("nanoAOD_2015_CMS_Open_Data_ttbar.root", 537),
        ("nano_dy_rntuple.root", 188),
        ("pfnano.root", 64),
    ],
)
def test_nanoaod(shared_data: Path, name: str, num_jets: int) -> None:
    path = shared_data / "root" / name
    pt, flavour, counts = direct(path, "Events", "Jet_pt", "Jet_hadronFlavour", "nJet")
    block, file = read(path, reader_settings(**NANO, truths={"definitions": FLAVOUR}, block_bytes=5000))
    assert len(block) == file.num_rows == int(ak.sum(counts)) == num_jets
    np.testing.assert_array_equal(block.events["pt"], ak.flatten(pt))
    expected = {name: int(ak.sum(flavour == code)) for name, code in (("b", 5), ("c", 4), ("light", 0))}
    assert file.truths == expected
    assert np.bincount(block.events["truth"], minlength=3).tolist() == list(expected.values())
    np.testing.assert_array_equal(np.bincount(block.events["entry"], minlength=len(counts)), counts)


def test_flavours_of_v15(shared_data: Path) -> None:
    """The numbers that are known of this file."""
    _, file = read(shared_data / "root/nano_tt_v15.root", reader_settings(**NANO, truths={"definitions": FLAVOUR}))
    assert (file.truths["b"], file.truths["c"], file.num_rows) == (348, 194, 1636)


def test_pfnano_candidates_belong_to_their_jets(shared_data: Path) -> None:
    path = shared_data / "root" / "pfnano.root"
    columns = {"pt": "take(PFCands_pt, JetPFCands_pFCandsIdx)", "charge": "take(PFCands_charge, JetPFCands_pFCandsIdx)"}
    candidates = {"candidates": {"columns": columns, "row_index": "JetPFCands_jetIdx"}}
    values = {**NANO, "columns": {"pt": "Jet_pt", "num": "Jet_nConstituents"}}
    block, _ = read(path, reader_settings(**values, collections=candidates))
    found = block.collections["candidates"]
    pt, jet, index = direct(path, "Events", "PFCands_pt", "JetPFCands_jetIdx", "JetPFCands_pFCandsIdx")
    expected = [
        [pts[i] for i, owner in zip(indices, owners, strict=True) if owner == place]
        for pts, owners, indices, count in zip(
            pt.to_list(), jet.to_list(), index.to_list(), ak.to_list(direct(path, "Events", "nJet")[0]), strict=True
        )
        for place in range(count)
    ]
    assert ak.unflatten(found.columns["pt"], found.counts).to_list() == expected
    np.testing.assert_array_equal(found.counts, block.events["num"])


def test_scouting(shared_data: Path) -> None:
    path = shared_data / "root" / "scouting_nano.root"
    (pt,) = direct(path, "Events", "ScoutingPFJet_pt")
    settings: dict[str, Any] = {"columns": {"pt": "ScoutingPFJet_pt"}, "cuts": {"pt": "ScoutingPFJet_pt > 30"}}
    block, file = read(path, reader_settings(rows="objects", **settings))
    assert file.num_rows == int(ak.sum(ak.num(pt))) == 447
    assert len(block) == int(ak.sum(pt > 30)) > 0


def test_delphes(shared_data: Path) -> None:
    path = shared_data / "root" / "delphes_ttbar.root"
    size, flavour, met = direct(path, "Delphes", "Jet_size", "Jet.Flavor", "MissingET.MET")
    columns = {"pt": "Jet.PT", "log_pt": "log(Jet.PT)", "met": "sum(MissingET.MET)"}
    truths = {"definitions": {"b": [{"Jet.Flavor": 5}], "other": [{"Jet.Flavor": {"!=": 5}}]}}
    block, file = read(path, reader_settings(tree="Delphes", rows="objects", columns=columns, truths=truths))
    assert file.num_rows == int(ak.sum(size)) == 74
    assert file.truths == {"b": int(ak.sum(flavour == 5)), "other": int(ak.sum(flavour != 5))}
    np.testing.assert_array_equal(block.events["met"], np.repeat(ak.to_numpy(met[:, 0]), size))


def test_physlite(shared_data: Path) -> None:
    path = shared_data / "root" / "PHYSLITE_example.root"
    prefix = "AnalysisJetsAuxDyn"
    flavour, energies = direct(
        path, "CollectionTree", f"{prefix}.HadronConeExclTruthLabelID", f"{prefix}.EnergyPerSampling"
    )
    label = f"{prefix}.HadronConeExclTruthLabelID"
    truths = {
        "definitions": {"b": [{label: [5]}], "c": [{label: [4]}], "tau": [{label: [15]}], "light": [{label: [0]}]}
    }
    columns = {"pt": f"{prefix}.pt / 1000", "energy": f"sum({prefix}.EnergyPerSampling)"}
    samplings = {"samplings": {"columns": {"energy": f"{prefix}.EnergyPerSampling"}}}
    settings = reader_settings(
        tree="CollectionTree", rows="objects", columns=columns, collections=samplings, truths=truths, block_bytes=20_000
    )
    block, file = read(path, settings)
    assert file.num_rows == len(block) == int(ak.sum(ak.num(flavour))) == 881
    codes = (("b", 5), ("c", 4), ("tau", 15), ("light", 0))
    assert file.truths == {name: int(ak.sum(flavour == code)) for name, code in codes}
    found = block.collections["samplings"]
    per_jet = ak.flatten(energies, axis=1)
    np.testing.assert_array_equal(found.counts, ak.num(per_jet))
    np.testing.assert_array_equal(found.columns["energy"], ak.flatten(per_jet))
    np.testing.assert_allclose(block.events["energy"], ak.sum(per_jet, axis=-1), rtol=1e-4)


def test_events_with_all_their_jets(shared_data: Path) -> None:
    path = shared_data / "root" / "uproot-HZZ.root"
    counts, energy, x, y = direct(path, "events", "NJet", "Jet_E", "Jet_Px", "Jet_Py")
    columns = {"num_jets": "NJet", "ht": "sum(hypot(Jet_Px, Jet_Py))"}
    jets = {"jets": {"columns": {"energy": "Jet_E"}}}
    block, _ = read(path, reader_settings(tree="events", columns=columns, collections=jets, block_bytes=30_000))
    assert len(block) == 2421
    np.testing.assert_array_equal(block.collections["jets"].counts, counts)
    np.testing.assert_array_equal(block.collections["jets"].columns["energy"], ak.flatten(energy))
    np.testing.assert_allclose(block.events["ht"], ak.sum(np.hypot(x, y), axis=1), rtol=1e-5)
