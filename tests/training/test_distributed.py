"""Several processes make the same steps as one: every event counts once, and all decide the same."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError
from honeyguide.training.ranks import Member
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from tests.forked import run_script
from tests.planted import write_inputs, write_sample

ROOT = Path(__file__).parents[2]
# without noise, and without normalisation over a batch: several processes do what one does, but for rounding
MODEL = {"family": "vae", "hidden": [16], "latent_dim": 3, "posterior": "none"}
SETTINGS = {
    "epochs": 4, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.03, "device": "cpu", "num_threads": 1,
    "tensorboard": False,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 3, "batch_size": 40},
    "clipped": {"gradient_clip": 0.05},
    "averaged": {"ema_decay": 0.9, "lookahead_steps": 2},
    "weighted": {"event_weights": "balance_generators", "scheduler_patience": 0, "resident_mb": 0},
    "stopped early": {"epochs": 60, "early_stopping_patience": 2, "scheduler": "none", "learning_rate": 0.5},
    "few events": {"batch_size": 2, "epochs": 2, "accumulate": 2},
    "adamw": {"optimizer": "adamw", "learning_rate": 1e-3},
    "compared": {},
}
# what compares the events of a batch sees those of all processes
TERMS = {"compared": {"supervised_contrastive": 0.1, "mmd": 0.3, "adversary": 0.1}}
SIZES = (1, 2, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder with all cases at all numbers of processes; all in one process that forks."""
    folder = tmp_path_factory.mktemp("distributed")
    many = write_inputs(folder / "many", num_train=601, num_validation=203)
    few = write_inputs(folder / "few", num_train=11, num_validation=2, num_test=0)
    jobs = []
    for case, settings in CASES.items():
        for size in SIZES:
            place = folder / f"{case} {size}"
            place.mkdir()
            jobs.append({
                "inputs": str(few if case == "few events" else many), "folder": str(place / "t"),
                "checkpoint": str(place / "checkpoint"), "lives": [None],
                "model": MODEL | {"terms": TERMS.get(case, {})},
                "settings": SETTINGS | settings | {"processes": size},
            })  # fmt: skip
    endings, said = live(folder, jobs)
    assert "Error" not in said, said
    assert endings == [[0]] * len(jobs)
    return folder


def live(folder: Path, jobs: list[dict[str, Any]]) -> tuple[list[list[int]], str]:
    """Returns how the processes of all jobs have ended, and what they have said."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = run_script(Path(__file__).with_name("killed_training.py"), folder / "jobs.json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "t/metrics.json").read_text())
    return found


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("case", CASES)
def test_several_processes_make_the_steps_of_one(trained, case, size):
    alone, together = trained / f"{case} 1", trained / f"{case} {size}"
    one, other = metrics(alone), metrics(together)
    assert [other[name] for name in ("best_epoch", "stopped_early")] == [
        one[name] for name in ("best_epoch", "stopped_early")
    ]
    rough = 100 if case == "stopped early" else 1  # many large steps, in which rounding grows
    for expected, found in zip(one["epochs"], other["epochs"], strict=True):
        for split in ("train", "validation"):
            assert found[split] == pytest.approx(expected[split], rel=rough * 2e-6, abs=2e-7)
        assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=rough * 1e-5)
        assert (found["waited"], found["learning_rate"]) == (expected["waited"], expected["learning_rate"])
    for which in ("initial", "best", "last"):
        weights, expected = (load_file(folder / f"t/{which}.safetensors") for folder in (together, alone))
        # where a gradient is next to nothing, adamw makes a step of its rounding
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if case == "adamw" else {"rtol": 1e-5, "atol": rough * 2e-6}
        assert all(torch.allclose(weights[name], expected[name], **tolerance) for name in expected)


def test_the_cases_do_what_they_are_named_for(trained):
    runs = {case: metrics(trained / f"{case} 1") for case in CASES}
    assert runs["stopped early"]["stopped_early"]
    assert min(record["gradient_norm"] for record in runs["clipped"]["epochs"]) > CASES["clipped"]["gradient_clip"]


@pytest.mark.parametrize("shuffle_seed", [None, 3])
@pytest.mark.parametrize("resident", [0, 10**9])
@pytest.mark.parametrize("batch_size", [2, 50])
def test_parts_together_are_the_batches(tmp_path, shuffle_seed, resident, batch_size):
    paths = list_inputs(write_inputs(tmp_path / "inputs", num_train=62), "train").values()
    stream = functools.partial(
        BatchStream, [ModelInputs.open(path) for path in paths], batch_size=batch_size, shuffle_seed=shuffle_seed
    )
    whole = [batch.event_id.numpy() for batch in stream().batches(1)]
    parts = [
        [batch.event_id.numpy() for batch in stream(resident_bytes=resident, part=(number, 3)).batches(1)]
        for number in range(3)
    ]
    for number, (batch, *pieces) in enumerate(zip(whole, *parts, strict=True)):
        assert stream().events_in(number) == len(batch)
        if batch_size == 50:
            np.testing.assert_array_equal(np.concatenate(pieces), batch)
            assert {len(piece) for piece in pieces} <= {len(batch) // 3, len(batch) // 3 + 1}
        else:  # of two events and three parts, the first one is lent its event
            assert [list(piece) for piece in pieces] == [[batch[0]], *([event_id] for event_id in batch)]


def test_another_number_of_processes_than_the_settings_say_is_an_error(tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    build = functools.partial(models.build, models.parse(MODEL))
    for member, size in ((Member(), 2), (Member(0, 2, 0, "localhost:1"), 1)):
        settings = TrainingSettings(device="cpu", processes=size)
        with pytest.raises(ConfigError, match="number of processes"):
            train(inputs, tmp_path, build_model=build, settings=settings, seed=1, provenance={},
                  session=Session(member=member))  # fmt: skip


def test_a_nan_in_one_process_ends_all_with_the_same_words(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=61)
    path = write_sample(inputs, "bad", "train", num_events=1, first_id=4242)
    source = ModelInputs.open(list_inputs(inputs, "train")["bad"])
    path.write_bytes(path.read_bytes().replace(source.event.tobytes(), np.float32([np.inf]).tobytes()))
    endings, said = live(tmp_path, [{
        "inputs": str(inputs), "folder": str(tmp_path / "t"), "checkpoint": str(tmp_path / "checkpoint"),
        "model": MODEL, "lives": [None], "settings": SETTINGS | {"batch_size": 2, "processes": 2},
    }])  # fmt: skip
    assert endings == [[4]]
    assert said.count("reconstruction is NaN or infinite") == 2
    assert said.count("first events of that batch: 4242") == 2  # of the one part that had it
