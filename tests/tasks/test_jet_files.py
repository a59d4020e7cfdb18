"""Jets of published data sets by the shipped configs: rows, truths and physics, whatever format they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from configs.from_weaver import main
from honeyguide.data.model_inputs import ModelInputs, read_spec
from honeyguide.io.atomic import read_manifest
from honeyguide.io.event_store import EventStore
from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.preprocessing import PreprocessTask
from tests.array_files import write_table
from tests.weaver_configs import full

JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path / "store"))
    HoneyguideTask.clear_instance_cache()


def converted(config: str, path: Path, folder: Path, **parameters: Any) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """Returns the rows of a file by a shipped config, the counts in the manifest, and the parameters to go on with."""
    (folder / "files.txt").write_text(f"{path}\n")
    parameters = {"config": config, "filelist": str(folder / "files.txt"), **parameters}
    task = DatasetConstructorTask(**parameters)
    (branch,) = task.get_branch_tasks().values()
    branch.publish_message = print
    branch.run()
    with EventStore(next(paths[0] for paths in task.shards().values() if paths)) as store:
        (block,) = store.iter_blocks()
    return block, read_manifest(branch.output().folder)["metadata"]["counts"], parameters


def inputs(parameters: dict[str, str]) -> tuple[Any, list[ModelInputs]]:
    """Returns the specification and the files of model inputs."""
    task = PreprocessTask(**parameters)
    task.publish_message = print
    task.progress = lambda _: None
    task.run()
    folder = task.output().folder
    return read_spec(folder), [ModelInputs.open(path) for path in sorted(folder.glob("*/*.h5"))]


def area(score: np.ndarray, signal: np.ndarray) -> float:
    """The probability that a signal's score is above a background's."""
    ranks = np.argsort(np.argsort(score))
    number = signal.sum()
    return (ranks[signal].sum() - number * (number - 1) / 2) / (number * (~signal).sum())


def test_top_landscape(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "jets" / "top_landscape_1000.npz"
    block, counts, parameters = converted("top_landscape_particlenet", path, tmp_path)
    assert counts["truths"] == {"qcd": 500, "top": 500}
    assert counts["files"][0]["energy_below_momentum"] == 0
    with np.load(path) as file:
        vectors, mask = file["vectors"], file["mask"][:, 0] != 0
    np.testing.assert_array_equal(block.collections["particles"].counts, mask.sum(1))
    assert 549 < block.events["pt"].min() < block.events["pt"].max() < 651
    assert np.median(block.events["mass"][block.events["truth"] == 1]) == pytest.approx(173, abs=5)
    assert area(block.events["mass"], block.events["truth"] == 1) > 0.88
    spec, files = inputs(parameters)
    (item,) = spec.sets
    assert (item.size, item.vectors, len(item.columns), spec.observers) == (128, True, 7, ("mass",))
    assert sum(len(part) for part in files) == 1000
    assert len(files[0]) == pytest.approx(500, abs=50)  # test
    for part in files:
        rows = part.event_id & (2**24 - 1)
        four = np.where(mask[rows][:, None], vectors[rows], 0).transpose(0, 2, 1)
        np.testing.assert_array_equal(part.sets["particles"].vectors, four)
        np.testing.assert_array_equal(part.sets["particles"].mask, mask[rows])
        assert np.abs(part.sets["particles"].features).max() <= 5


def test_the_published_tables_give_the_same_jets(shared_data: Path, tmp_path: Path) -> None:
    with np.load(shared_data / "jets" / "top_landscape_1000.npz") as file:
        arrays = {name: file[name][:100] for name in ("vectors", "mask", "label")}
    npz, _, _ = converted("top_landscape_particlenet", shared_data / "jets" / "top_landscape_1000.npz", tmp_path)
    (tmp_path / "mine.yaml").write_text("extends: top_landscape_particlenet\ndataset: top_landscape_h5\n")
    table, counts, _ = converted(str(tmp_path / "mine.yaml"), write_table(tmp_path / "train.h5", arrays), tmp_path)
    assert counts["selected"] == 100
    for name in ("pt", "eta", "phi", "energy", "mass", "truth"):
        np.testing.assert_array_equal(table.events[name], npz.events[name][:100])
    size = table.collections["particles"].offsets[-1]
    for name, column in table.collections["particles"].columns.items():
        np.testing.assert_array_equal(column, npz.collections["particles"].columns[name][:size])


def test_labels_of_jetclass_are_in_its_order(shared_data: Path, tmp_path: Path) -> None:
    block, counts, _ = converted("jetclass_npz", shared_data / "jets" / "jetclass_500.npz", tmp_path)
    assert tuple(counts["truths"]) == JETCLASS
    masses = [np.median(block.events["mass"][block.events["truth"] == code]) for code in range(10)]
    of = dict(zip(JETCLASS, masses, strict=True))
    for name in ("Hbb", "Hcc", "Hgg", "H4q"):
        assert of[name] == pytest.approx(122, abs=5)
    assert (of["Zqq"], of["Wqq"]) == (pytest.approx(92, abs=4), pytest.approx(85, abs=4))
    assert of["Tbqq"] == pytest.approx(171, abs=6)
    assert max(of["Hqql"], of["Tbl"]) < of["Tbqq"] - 30  # the neutrino is missing
    sizes = [block.collections["particles"].counts[block.events["truth"] == code].mean() for code in (1, 3)]
    assert sizes[1] > 1.2 * sizes[0]  # gluons make more particles than b quarks


def write_jetclass(path: Path, jets: Path) -> dict[str, Any]:
    """Returns what it writes into a ROOT file as JetClass's: jets of the npz file; identity and displacement drawn."""
    with np.load(jets) as file:
        vectors, mask, labels = file["vectors"], file["mask"][:, 0] != 0, file["label"]
    rng = np.random.default_rng(5)
    total = vectors.sum(2, dtype=float)
    jet = {"jet_pt": np.hypot(total[:, 0], total[:, 1]), "jet_phi": np.arctan2(total[:, 1], total[:, 0])}
    jet |= {"jet_eta": np.arcsinh(total[:, 2] / jet["jet_pt"]), "jet_energy": total[:, 3]}
    four = dict(zip(("px", "py", "pz", "energy"), vectors.astype("f4").transpose(1, 0, 2), strict=True))
    eta = np.arcsinh(four["pz"] / np.maximum(np.hypot(four["px"], four["py"]), 1e-9))
    dphi = np.arctan2(four["py"], four["px"]) - jet["jet_phi"][:, None]
    four["deta"] = (eta - jet["jet_eta"][:, None]) * np.where(jet["jet_eta"] < 0, -1, 1)[:, None]
    four["dphi"] = np.arctan2(np.sin(dphi), np.cos(dphi))
    identity = rng.integers(0, 5, mask.shape)
    flags = {name: (identity == code).astype("f4") for code, name in enumerate(FLAGS)}
    drawn = {name: rng.normal(size=mask.shape) for name in ("d0val", "d0err", "dzval", "dzerr")}
    drawn["charge"] = rng.integers(-1, 2, mask.shape)
    parts = {**four, **flags, **drawn}
    counts = mask.sum(1)
    tree = {f"part_{name}": ak.unflatten(values[mask].astype("f4"), counts) for name, values in parts.items()}
    tree |= {name: values.astype("f4") for name, values in jet.items()}
    tree["jet_nparticles"] = counts.astype("f4")
    tree |= {
        name: rng.random(len(counts)).astype("f4") for name in ("jet_sdmass", *(f"jet_tau{i}" for i in range(1, 5)))
    }
    tree |= {f"label_{name}": labels[:, code].astype("i4") for code, name in enumerate(JETCLASS)}
    tree["aux_genpart_pt"] = rng.random(len(counts)).astype("f4")
    with uproot.recreate(path) as file:
        file["tree"] = tree
    return {"mask": mask, "labels": labels, **parts}


def test_root_files_of_jetclass(shared_data: Path, tmp_path: Path) -> None:
    written = write_jetclass(tmp_path / "HToBB_000.root", shared_data / "jets" / "jetclass_500.npz")
    block, counts, parameters = converted("jetclass_full", tmp_path / "HToBB_000.root", tmp_path)
    assert list(counts["processes"]) == ["HToBB"]
    assert counts["truths"] == dict(zip(JETCLASS, written["labels"].sum(0).tolist(), strict=True))
    assert np.median(block.events["mass"][block.events["truth"] == 8]) == pytest.approx(171, abs=6)
    spec, files = inputs(parameters)
    (item,) = spec.sets
    names = [column.name for column in item.columns]
    assert len(names) == 17
    mask = written["mask"]
    expected = {name: written[name] for name in ("charge", *FLAGS, "deta", "dphi")}
    expected |= {name: np.tanh(written[f"{name}val"]) for name in ("d0", "dz")}
    expected |= {name: np.clip(written[name], 0, 1) for name in ("d0err", "dzerr")}
    expected["deltaR"] = np.clip((np.hypot(written["deta"], written["dphi"]) - 0.2) * 4, -5, 5)
    expected["e_log"] = np.clip((np.log(np.maximum(written["energy"], 1e-9)) - 2) * 0.7, -5, 5)
    for part in files:
        rows = part.event_id & (2**24 - 1)
        np.testing.assert_array_equal(part.sets["particles"].mask, mask[rows])
        for name, values in expected.items():
            found = part.sets["particles"].features[..., names.index(name)][mask[rows]]
            np.testing.assert_allclose(found, values[rows][mask[rows]], rtol=1e-4, atol=2e-5, err_msg=name)


def test_a_data_config_of_weaver_gives_the_same_inputs(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "HToBB_000.root"
    write_jetclass(path, shared_data / "jets" / "jetclass_500.npz")
    monkeypatch.chdir(tmp_path)
    Path("weaver.yaml").write_text(yaml.safe_dump(full(), sort_keys=False))
    assert main(["weaver.yaml", "mine"]) == 0
    splits = ("preprocess.validation_fraction=0", "preprocess.test_fraction=0")
    (ours,) = inputs(converted("jetclass_full", path, tmp_path, set=splits)[2])[1]
    (theirs,) = inputs(converted(str(tmp_path / "mine.yaml"), path, tmp_path, set=splits)[2])[1]
    np.testing.assert_array_equal(theirs.event_id, ours.event_id)
    np.testing.assert_array_equal(theirs.truth, ours.truth)
    np.testing.assert_array_equal(theirs.sets["pf"].vectors, ours.sets["particles"].vectors)
    np.testing.assert_allclose(theirs.sets["pf"].features, ours.sets["particles"].features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "process"),
    [("HToBB", "HToBB"), ("TTBarLep", "TTBarLep"), ("TTBar", "TTBar"), ("HToWW4Q", "HToWW4Q"), ("ZToQQ", "ZToQQ")],
)
def test_files_of_jetclass_are_samples_by_their_names(tmp_path: Path, name: str, process: str) -> None:
    (tmp_path / f"{name}_012.root").write_bytes(b"root")
    (tmp_path / "files.txt").write_text("*.root\n")
    found = DatasetConstructorTask(config="jetclass_kin", filelist=str(tmp_path / "files.txt")).sources()
    assert [sample for sample, files in found.items() if files] == [process]
