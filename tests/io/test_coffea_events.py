"""Names of coffea's schemas and processors of users: the rows are those that a direct read gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml
from pydantic import ValidationError

from honeyguide.data.sample import SampleInfo
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.convert import ConversionCounts, convert_files
from honeyguide.io.event_store import EventStore
from honeyguide.io.processors import load_processor, processor_file
from honeyguide.io.settings import ReaderSettings
from tests.docs.pages import blocks, text_of
from tests.root_files import jets_tree, joined, reader_settings, write_tree

SAMPLE = SampleInfo(name="tt", process="tt", generator="toy", label="background")
PAGE = {block.file: block.text for block in blocks(text_of("docs/coffea-processors.md")) if block.file}


def convert(folder: Path, path: Path, values: dict[str, Any], **reader: Any) -> tuple[Any, ConversionCounts]:
    folder.mkdir()
    settings = ReaderSettings(format="root", root=reader_settings(**values), **reader)
    counts = convert_files([path], folder, sample=SAMPLE, settings=settings)
    rows = []
    for shard in sorted(folder.glob("events*.h5")):
        with EventStore(shard) as store:
            rows += list(store.iter_blocks())
            assert store.attrs["truths"] == list(counts.truths)
    return joined(rows), counts


def branches(path: Path, *names: str, tree: str = "Events") -> list[ak.Array]:
    with uproot.open(path) as file:
        return [file[tree][name].array() for name in names]


def test_cross_references_of_the_page(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "root" / "nano_tt_v15.root"
    values = yaml.safe_load(PAGE["matched.yaml"])["reader"]["root"]
    block, counts = convert(tmp_path / "out", path, values, chunk_size=120)
    pt, index, gen_pt, flavour = branches(path, "Jet_pt", "Jet_genJetIdx", "GenJet_pt", "GenJet_hadronFlavour")
    expected = [
        (jet, generated[place], code[place])
        for jets, places, generated, code in zip(
            *(each.to_list() for each in (pt, index, gen_pt, flavour)), strict=True
        )
        for jet, place in zip(jets, places, strict=True)
        if 0 <= place < len(generated)
    ]
    assert counts.rejected == {"cut: matched": int(ak.count(pt)) - len(expected)}
    np.testing.assert_array_equal(block.events["pt"], np.array([jet for jet, _, _ in expected], np.float32))
    np.testing.assert_allclose(block.events["response"], [jet / generated for jet, generated, _ in expected], rtol=1e-5)
    assert counts.truths["b"] == sum(code == 5 for _, _, code in expected) > 0


@pytest.mark.parametrize(
    ("name", "schema", "tree", "column", "branch"),
    [
        ("pfnano.root", "PFNanoAODSchema", "Events", "Jet.pt", "Jet_pt"),
        ("nano_dy_rntuple.root", "NanoAODSchema", "Events", "Jet.pt", "Jet_pt"),
        ("scouting_nano.root", "ScoutingNanoAODSchema", "Events", "ScoutingPFJet.pt", "ScoutingPFJet_pt"),
        ("PHYSLITE_example.root", "PHYSLITESchema", "CollectionTree", "Jets.pt", "AnalysisJetsAuxDyn.pt"),
        ("uproot-HZZ.root", "BaseSchema", "events", "Jet_E", "Jet_E"),
    ],
)
def test_schemas_of_real_files(
    shared_data: Path, tmp_path: Path, name: str, schema: str, tree: str, column: str, branch: str
) -> None:
    path = shared_data / "root" / name
    values = {"tree": tree, "coffea_schema": schema, "rows": "objects", "columns": {"x": column}}
    block, _ = convert(tmp_path / "out", path, values, chunk_size=1000)
    (expected,) = branches(path, branch, tree=tree)
    np.testing.assert_array_equal(block.events["x"], ak.flatten(expected))


def test_a_wrong_name_has_the_nearest_one(shared_data: Path, tmp_path: Path) -> None:
    values = {"coffea_schema": "NanoAODSchema", "rows": "objects", "columns": {"x": "Jet.hadronFlavor"}}
    with pytest.raises(DataError, match=r"no 'Jet.hadronFlavor'[^$]*nearest: hadronFlavour"):
        convert(tmp_path / "out", shared_data / "root" / "nano_tt_v15.root", values)


@pytest.fixture
def dijets(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "dijets.py").write_text(PAGE["dijets.py"])
    values: dict[str, Any] = yaml.safe_load(PAGE["dijets.yaml"])["reader"]["root"]
    return {**values, "processor": f"{tmp_path}/dijets.py:Dijets"}


def test_processor_of_the_page(shared_data: Path, tmp_path: Path, dijets: dict[str, Any]) -> None:
    path = shared_data / "root" / "nano_tt_v15.root"
    block, counts = convert(tmp_path / "out", path, dijets)
    futures = convert(tmp_path / "futures", path, dijets, chunk_size=110, workers=2)
    names = ("Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass", "Jet_hadronFlavour", "event")
    pt, eta, phi, mass, flavour, event = branches(path, *names)
    kept = ak.sum(pt > 20, axis=1) >= 2
    first, second = (
        {"pt": pt[pt > 20][kept][:, i], "eta": eta[pt > 20][kept][:, i], "phi": phi[pt > 20][kept][:, i]}
        for i in (0, 1)
    )
    assert block.events["group"].tolist() == event[kept].to_list()
    np.testing.assert_array_equal(block.events["pt"], first["pt"])
    b = ak.any(flavour[pt > 20][kept][:, :2] == 5, axis=1)
    assert counts.truths == {"b": int(ak.sum(b)), "other": int(ak.sum(~b))}
    np.testing.assert_array_equal(block.events["truth"] == 0, b)
    np.testing.assert_array_equal(block.collections["jets"].counts, ak.sum(pt > 20, axis=1)[kept])
    two = mass[pt > 20][kept][:, :2]
    energy = [
        np.sqrt(two[:, i] ** 2 + (each["pt"] * np.cosh(each["eta"])) ** 2) for i, each in enumerate((first, second))
    ]
    square = (energy[0] + energy[1]) ** 2
    for parts_of in ((np.cos, "phi"), (np.sin, "phi"), (np.sinh, "eta")):
        square = square - sum(each["pt"] * parts_of[0](each[parts_of[1]]) for each in (first, second)) ** 2
    np.testing.assert_allclose(block.events["mass"], np.sqrt(square), rtol=1e-3)
    assert futures[1] == counts
    for name, column in block.events.items():
        np.testing.assert_array_equal(column, futures[0].events[name])


WRONG = {
    '{"columns": {"x": events.MET_pt, "y": events.MET_pt[:1]}}': "columns of one length",
    '{"columns": {}}': "the mapping that it should",
    "events.MET_pt": "the mapping that it should",
    '{"columns": {"x": events.Jet_pt}}': "one number per row",
    '{"columns": {"x": events.MET_pt}, "truth": [0] * len(events)}': "'truth' and its names together",
    '{"columns": {"x": events.MET_pt}, "collections": {"j": {"x": events.MET_pt}}}': "a list per row",
    '{"columns": {"x": events.MET_pt}, "group": events.MET_pt}': "whole numbers",
}


@pytest.mark.parametrize("returned", WRONG)
def test_what_a_processor_must_not_return(tmp_path: Path, returned: str) -> None:
    path = write_tree(tmp_path / "a.root", jets_tree())
    lines = ["from coffea import processor", "class Mine(processor.ProcessorABC):"]
    lines += [f"    def process(self, events): return {returned}", "    def postprocess(self, a): return a"]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    with pytest.raises(DataError, match=WRONG[returned]):
        convert(tmp_path / "out", path, {"processor": f"{tmp_path}/mine.py:Mine"})


def test_a_processor_that_is_not_there(tmp_path: Path, dijets: dict[str, Any]) -> None:
    for name, message in (("nowhere.py:A", "no such processor"), ("no_module:A", "no such"), ("Dijets", "not named")):
        with pytest.raises(ConfigError, match=message):
            processor_file(name)
    with pytest.raises(ConfigError, match="nearest: Dijets"):
        load_processor(dijets["processor"].replace("Dijets", "Dijet"))


def test_a_processor_makes_the_rows_alone() -> None:
    with pytest.raises(ValidationError, match="no rows, columns"):
        reader_settings(processor="a.py:A", columns={"x": "x"})
    with pytest.raises(ValidationError, match="at least one is needed"):
        reader_settings()
