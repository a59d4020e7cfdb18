"""A training that is killed at any moment goes on, and its weights are those of an uninterrupted one, bit by bit."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.errors import StoreError
from honeyguide.training.checkpoint import FILE, Checkpoints
from honeyguide.training.progress import SilentProgress
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from tests.forked import run_script
from tests.planted import write_inputs

ROOT = Path(__file__).parents[2]
MODEL = {"family": "vae", "hidden": [16], "latent_dim": 3, "dropout": 0.1, "normalization": "batch"}
SETTINGS = {"epochs": 5, "batch_size": 64, "tensorboard": False, "num_threads": 1, "device": "cpu"}
STEPS = 10  # of an epoch
RICH = {
    "optimizer": "sgd", "learning_rate": 0.01, "scheduler": "one_cycle", "lookahead_steps": 3, "ema_decay": 0.9,
    "accumulate": 2, "batch_size": 32, "resident_mb": 0, "precision": "bf16", "gradient_clip": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("continued") / "inputs")


def results(folder: Path) -> tuple[bytes, bytes, Any]:
    metrics = json.loads((folder / "t/metrics.json").read_text())
    for record in metrics["epochs"]:
        del record["seconds"], record["events_per_second"]
    return (folder / "t/best.safetensors").read_bytes(), (folder / "t/last.safetensors").read_bytes(), metrics


def seeded_places(seed: int, lives: int) -> list[Any]:
    rng = random.Random(seed)
    return [("SIGKILL", "step", rng.randrange(2, STEPS + 5)) for _ in range(lives)]


# settings, and where the processes die one after the other
CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "at random steps": ({"checkpoint_seconds": 0}, seeded_places(1, 4)),
    "with all that has a state": (RICH | {"checkpoint_seconds": 0}, seeded_places(2, 4)),
    "checkpoints by epochs": (
        {"checkpoint_seconds": None, "checkpoint_epochs": 1, "scheduler": "cosine", "optimizer": "radam"},
        [("SIGKILL", "step", STEPS + 3), ("SIGKILL", "epoch", 2), ("SIGKILL", "step", STEPS)],
    ),
    "in the midst of writing": (
        {"checkpoint_seconds": 0},
        [("SIGKILL", "write", 4), ("SIGKILL", "write", STEPS), ("SIGKILL", "write", 1)],
    ),
    "SIGTERM": (
        {"scheduler_patience": 0},
        [
            ("SIGTERM", "step", 3), ("SIGTERM", "step", STEPS - 3), ("SIGTERM", "validation", 3),
            ("SIGTERM", "epoch", 1),
        ],
    ),
    "two processes": (
        RICH | {"checkpoint_seconds": 0, "processes": 2},
        [*seeded_places(3, 2), ("SIGTERM", "step", 3), ("SIGTERM", "validation", 2), ("SIGKILL", "write", 2)],
    ),
    "three processes": ({"checkpoint_seconds": 0, "processes": 3}, seeded_places(4, 3)),
}  # fmt: skip


@pytest.fixture(scope="module")
def lived(inputs, tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    """The folder of all cases, killed and whole, and how their processes ended; all in one process that forks."""
    folder = tmp_path_factory.mktemp("lived")
    jobs = {}
    for number, (name, (settings, places)) in enumerate(CASES.items()):
        for kind, lives in (("whole", [None]), ("killed", [*places, None])):
            case = folder / f"{number}-{kind}"
            case.mkdir()
            jobs[f"{name}, {kind}"] = {
                "inputs": str(inputs), "folder": str(case / "t"), "checkpoint": str(case / "checkpoint"),
                "model": MODEL, "settings": SETTINGS | settings, "lives": lives,
            }  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(list(jobs.values())))
    done = run_script(Path(__file__).with_name("killed_training.py"), folder / "jobs.json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr
    return folder, dict(zip(jobs, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_killed_training_ends_with_the_same_bits(lived, name):
    folder, endings = lived
    number, places = list(CASES).index(name), CASES[name][1]
    killed, whole = folder / f"{number}-killed", folder / f"{number}-whole"
    assert endings[f"{name}, whole"] == [0]
    assert endings[f"{name}, killed"] == [3 if place[0] == "SIGTERM" else -9 for place in places] + [0]
    assert results(killed) == results(whole)
    assert [file.name for file in (killed / "checkpoint").iterdir()] == [FILE]


def build() -> Any:
    return functools.partial(models.build, models.parse(MODEL))


class Stops(SilentProgress):
    """Progress that raises at a step."""

    def __init__(self, step: int) -> None:
        self.left, self.done, self.seen = step, 0, 0

    def start(self, *, done: int = 0, **_: int) -> None:
        """Notes what was done before."""
        self.done = done

    def batch(self, num_events: int) -> None:
        """Counts."""
        self.seen += num_events
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def begin(inputs: Path, folder: Path, checkpoint: Path | None, *, step: int = -1, seed: int = 1, **settings) -> Stops:
    folder.mkdir(exist_ok=True)
    progress = Stops(step)
    train(
        inputs,
        folder,
        build_model=build(),
        settings=TrainingSettings(**(SETTINGS | {"epochs": 2} | settings)),
        seed=seed,
        provenance={},
        session=Session(progress=progress, checkpoint=checkpoint),
    )
    return progress


def test_nothing_that_is_done_is_done_again(inputs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin(inputs, tmp_path / "t", tmp_path / "c", step=STEPS + 4, checkpoint_seconds=0.0)
    progress = begin(inputs, tmp_path / "t", tmp_path / "c")
    assert progress.done == 600 + 3 * 60  # the fourth step's checkpoint was not yet written
    assert progress.done + progress.seen == 2 * 600


def test_state_of_another_training_is_an_error(inputs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        begin(inputs, tmp_path / "t", tmp_path / "c", step=3, checkpoint_seconds=0.0)
    for changes, named in (({"seed": 2}, "seed"), ({"learning_rate": 0.5}, "settings")):
        with pytest.raises(StoreError, match=f"another training(.|\n)*got: {named}"):
            begin(inputs, tmp_path / "t", tmp_path / "c", **changes)
    begin(inputs, tmp_path / "t", tmp_path / "c", resident_mb=0)  # no result depends on it


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000])
def test_damaged_state_is_said_and_the_training_begins_anew(inputs, tmp_path, damage):
    begin(inputs, tmp_path / "whole", None)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / FILE).write_bytes(damage)
    with pytest.warns(UserWarning, match="damaged"):
        begin(inputs, tmp_path / "t", tmp_path / "c")
    whole, anew = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "t"))
    assert all(torch.equal(whole[name], anew[name]) for name in whole)


def test_reading_a_state_executes_no_code(inputs, tmp_path):
    marker = tmp_path / "executed"
    (tmp_path / "c").mkdir()
    torch.save(_Executes(marker), tmp_path / "c" / FILE)
    with pytest.warns(UserWarning, match="damaged"):
        begin(inputs, tmp_path / "t", tmp_path / "c", epochs=1)
    assert not marker.exists()


class _Executes:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_state_comes_back_as_it_was(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", owner={"seed": 1})
    state = {
        "tensors": [torch.tensor([1.5, float("nan")]), torch.tensor(7, dtype=torch.int64), torch.tensor([])],
        "nested": {"0": {"exp_avg": torch.arange(6.0).reshape(2, 3).T}, "inf": float("inf"), "third": 1 / 3},
        "empty": {},
        "none": None,
    }
    shared = torch.arange(3.0)
    checkpoints.write(state | {"shared": [shared, shared[:2]]})
    found = Checkpoints(tmp_path / "c", owner={"seed": 1}).read()
    assert found is not None
    for one, other in zip(state["tensors"], found["tensors"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found["nested"]["0"]["exp_avg"], state["nested"]["0"]["exp_avg"])
    assert (found["nested"]["inf"], found["nested"]["third"]) == (float("inf"), 1 / 3)
    assert (found["empty"], found["none"]) == ({}, None)
    assert found["shared"][1].tolist() == [0, 1]
    assert Checkpoints(tmp_path / "elsewhere", owner={}).read() is None


def test_checkpoints_are_due_when_the_settings_say_so(tmp_path):
    def due(**options: Any) -> list[bool]:
        checkpoints = Checkpoints(tmp_path, owner={}, **options)
        return [checkpoints.due(epoch=epoch) for epoch in (None, 0, 1, 2, 3)]

    assert due(every_epochs=2) == [False, False, True, False, True]
    assert due(every_seconds=0.0) == [True] * 5
    assert due(every_seconds=1000.0) == due() == [False] * 5
    assert not Checkpoints(None, owner={}, every_epochs=1, every_seconds=0.0).due(epoch=0)


def test_a_full_disk_is_a_readable_error(inputs, tmp_path):
    (tmp_path / "c").write_text("in the way")
    with pytest.raises(StoreError, match="can't be written"):
        begin(inputs, tmp_path / "t", tmp_path / "c", checkpoint_seconds=0.0)
