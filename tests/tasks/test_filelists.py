"""Filelists of datasets: given once at the conversion, known to every later task of that version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from honeyguide.errors import ConfigError, DataError
from honeyguide.io.atomic import read_manifest
from honeyguide.io.event_store import EventStore
from tasks.base import HoneyguideTask
from tasks.dataset import DatasetConstructorTask
from tasks.preprocessing import PreprocessTask
from tests.root_files import jets_tree, write_tree

DATASET = """
reader:
  format: root
  root:
    tree: Events
    rows: objects
    columns: {pt: Jet_pt}
    truths: {definitions: {b: [{Jet_hadronFlavour: 5}], c: [{Jet_hadronFlavour: 4}], light: [{Jet_hadronFlavour: 0}]}}
samples:
  tt: {process: tt, generator: g, match: ["*/tt_*"]}
  qcd: {process: qcd, generator: g, match: ["re:qcd_[0-9]+"]}
  data: {process: data, generator: none, match: ["*/data_*"]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    HoneyguideTask.clear_instance_cache()
    for seed, name in enumerate(("tt_1", "tt_2", "qcd_1")):
        write_tree(tmp_path / f"{name}.root", jets_tree(2, seed=seed))
    (tmp_path / "files.txt").write_text("*.root\n")
    (tmp_path / "data.yaml").write_text(DATASET)
    (tmp_path / "exp.yaml").write_text("dataset: data.yaml\nmodel: {family: vae}\n")
    return str(tmp_path / "exp.yaml")


def converted(**parameters: Any) -> DatasetConstructorTask:
    task = DatasetConstructorTask(**parameters)
    for branch in task.get_branch_tasks().values():
        branch.publish_message = print
        branch.run()
    return task


def test_later_tasks_take_the_filelist_of_the_conversion(config: str, tmp_path: Path) -> None:
    task = converted(config=config, dataset_version="mine", filelist="files.txt")
    later = PreprocessTask(config=config, dataset_version="mine").requires()
    assert later.used_filelist == tmp_path / "files.txt"
    assert later.complete()
    assert later.shards() == task.shards()
    assert {name: len(paths) for name, paths in later.shards().items()} == {"tt": 2, "qcd": 1}
    given = PreprocessTask(config=config, dataset_version="mine", filelist=str(tmp_path / "files.txt"))
    assert given.output().path == PreprocessTask(config=config, dataset_version="mine").output().path
    for version in ("mine", "other"):
        HoneyguideTask.clear_instance_cache()
        task = PreprocessTask(config=config, dataset_version=version, filelist="files.txt")
        assert task.requires().complete() == (version == "mine")


def test_a_filelist_that_nobody_gave_is_an_error(config: str) -> None:
    with pytest.raises(ConfigError, match="none is given"):
        PreprocessTask(config=config).output()


def test_several_filelists_are_an_error_that_lists_them(config: str, tmp_path: Path) -> None:
    (tmp_path / "fewer.txt").write_text("tt_1.root\n")
    for name in ("files.txt", "fewer.txt"):
        converted(config=config, filelist=name)
    with pytest.raises(ConfigError) as error:
        PreprocessTask(config=config).output()
    assert all(str(tmp_path / name) in str(error.value) for name in ("files.txt", "fewer.txt"))
    assert PreprocessTask(config=config, filelist="fewer.txt").requires().complete()


def test_a_filelist_that_is_gone_is_an_error(config: str, tmp_path: Path) -> None:
    converted(config=config, filelist="files.txt")
    HoneyguideTask.clear_instance_cache()
    (tmp_path / "files.txt").unlink()
    with pytest.raises(DataError, match="gone"):
        PreprocessTask(config=config).output()


def test_what_is_in_the_filelist_now_decides(config: str, tmp_path: Path) -> None:
    converted(config=config, filelist="files.txt")
    before = PreprocessTask(config=config).output().path
    HoneyguideTask.clear_instance_cache()
    (tmp_path / "files.txt").write_text(f"# the same files by other paths\nqcd_1.root\n{tmp_path}/tt_*.root\n")
    assert PreprocessTask(config=config).output().path == before
    HoneyguideTask.clear_instance_cache()
    (tmp_path / "files.txt").write_text("tt_*.root\n")
    assert PreprocessTask(config=config).output().path != before
    HoneyguideTask.clear_instance_cache()
    (tmp_path / "files.txt").write_text("tt_*.root\nfiles.txt\n")
    with pytest.raises(DataError, match="no sample"):
        PreprocessTask(config=config).output()


def test_counts_are_in_the_manifest_and_truths_in_the_shards(config: str) -> None:
    task = converted(config=config, filelist="files.txt")
    for branch in task.get_branch_tasks().values():
        counts = read_manifest(branch.output().folder)["metadata"]["counts"]
        assert counts["read"] == counts["selected"] == sum(counts["truths"].values()) > 0
        assert list(counts["processes"]) == [branch.branch_data.sample]
        with EventStore(branch.output().folder / "events-00000.h5") as store:
            assert store.attrs["truths"] == ["b", "c", "light"]


def test_debug_is_the_first_file_of_each_sample_in_a_place_of_its_own(config: str) -> None:
    task = converted(config=config, filelist="files.txt", debug=True, chunk_size=5)
    assert {name: len(paths) for name, paths in task.shards().items()} == {"tt": 1, "qcd": 1}
    with EventStore(task.shards()["tt"][0]) as store:
        (block,) = store.iter_blocks()
        assert block.events["entry"].max() == 4
    assert not PreprocessTask(config=config).requires().complete()
    assert PreprocessTask(config=config, debug=True).output().path != PreprocessTask(config=config).output().path


def test_simulated_jets_are_read_from_their_root_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path / "store"))
    (tmp_path / "data.yaml").write_text(
        "reader: {format: root, root: {tree: DeepJetNTupler/DeepJetvars, columns: {pt: jet_pt, eta: jet_eta},"
        " group: event, truths: {definitions: [isB, isBB, isC, isCC, isUD, isS, isG, isUndefined]}}}\n"
        "detector: {tracking: {}}\n"
        "samples: {qcd: {process: qcd, generator: pythia, generate: {process: qcd_dijets, events: 4, seed: 1}}}\n"
    )
    (tmp_path / "exp.yaml").write_text("dataset: data.yaml\nmodel: {family: vae}\n")
    task = DatasetConstructorTask(config=str(tmp_path / "exp.yaml"))
    for branch in task.workflow_requires()["generate"].get_branch_tasks().values():
        branch.publish_message = branch.publish_progress = lambda *_: None
        branch.run()
    converted(config=str(tmp_path / "exp.yaml"))
    (shard,) = task.shards()["qcd"]
    with EventStore(shard) as store:
        (block,) = store.iter_blocks()
    assert len(block) >= 4
    assert len(set(block.events["group"])) == 4
    (source,) = task.sources()["qcd"]
    assert store.attrs["sources"][0]["name"] == "jets.root"
    assert source.identity is not None
