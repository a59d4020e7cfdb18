"""What a step does: by default what a plain loop does, and with each option what the option says."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

import models
from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError
from honeyguide.nn.model import weighted_sum
from honeyguide.training.averaging import AveragedWeights
from honeyguide.training.optimizers import Lookahead
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.step import split_batch
from honeyguide.training.weights import load_model
from tests.planted import write_inputs

ROOT = Path(__file__).parents[2]
CONFIG = {"family": "vae", "hidden": [16], "latent_dim": 3}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("steps") / "inputs")


def build(**changes: Any) -> Any:
    return functools.partial(models.build, models.parse(CONFIG | changes))


def run(inputs: Path, folder: Path, *, model: Any = None, **settings: Any) -> dict[str, Tensor]:
    """Returns the last weights."""
    folder.mkdir()
    chosen = {"epochs": 2, "batch_size": 64, "tensorboard": False, "num_threads": 1, "device": "cpu", **settings}
    train(
        inputs, folder, build_model=model or build(), settings=TrainingSettings(**chosen), seed=1, provenance={}
    )  # fmt: skip
    return load_file(folder / "last.safetensors")


def epochs(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "metrics.json").read_text())["epochs"]
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def close(one: dict[str, Tensor], other: dict[str, Tensor], **tolerances: float) -> bool:
    return all(torch.allclose(value, other[name], **tolerances) for name, value in one.items())


def test_by_default_it_is_the_plain_loop_to_the_last_bit(inputs, tmp_path):
    found = run(inputs, tmp_path / "t", model=build(dropout=0.1), epochs=3, scheduler_patience=0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build(dropout=0.1)(read_spec(inputs))
        sources = {s: [ModelInputs.open(p) for p in list_inputs(inputs, s).values()] for s in ("train", "validation")}
        training = BatchStream(sources["train"], batch_size=64, shuffle_seed=1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=1e-6)
        for epoch in range(3):
            model.train()
            for batch in training.batches(epoch):
                optimizer.zero_grad()
                weighted_sum(model.loss(batch), model.config.terms).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                batches = list(BatchStream(sources["validation"], batch_size=64).batches())
                totals = [weighted_sum(model.loss(b), model.config.terms).item() * len(b) for b in batches]
            plateau.step(sum(totals) / 201)
    assert same(model.state_dict(), found)


@pytest.mark.parametrize("clip", [None, 0.05])
def test_accumulated_batches_are_one_larger_batch(inputs, tmp_path, clip):
    options = {"model": build(posterior="none"), "optimizer": "sgd", "learning_rate": 0.01, "gradient_clip": clip}
    large = run(inputs, tmp_path / "large", batch_size=160, **options)
    parts = run(inputs, tmp_path / "parts", batch_size=40, accumulate=4, **options)
    small = run(inputs, tmp_path / "small", batch_size=40, **options)
    assert close(large, parts, rtol=1e-4, atol=1e-6)
    assert not close(large, small, rtol=1e-3, atol=1e-4)
    for one, other in zip(epochs(tmp_path / "large"), epochs(tmp_path / "parts"), strict=True):
        assert one["train"] == pytest.approx(other["train"], rel=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)


@pytest.mark.parametrize(("size", "number"), [(10, 3), (7, 7), (3, 8), (1, 4), (5, 1)])
def test_parts_hold_every_event_once(size, number):
    ids = torch.arange(size)
    batch = Batch(
        objects=torch.zeros(size, 2, 2), mask=torch.ones(size, 2, dtype=torch.bool), event=torch.zeros(size, 0),
        weight=torch.ones(size), label=ids, generator=ids, event_id=ids,
    )  # fmt: skip
    parts = split_batch(batch, number)
    assert torch.equal(torch.cat([part.event_id for part in parts]), ids)
    assert len(parts) == min(size, number)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "radam", "rmsprop", "adagrad"])
def test_lookahead_goes_with_every_optimizer(inputs, tmp_path, optimizer):
    settings = {"optimizer": optimizer, "learning_rate": 0.003}
    plain = run(inputs, tmp_path / "plain", **settings)
    slow = run(inputs, tmp_path / "slow", lookahead_steps=5, **settings)
    all_the_way = run(inputs, tmp_path / "all", lookahead_steps=5, lookahead_share=1.0, **settings)
    assert same(plain, all_the_way)
    assert not close(plain, slow)


def test_lookahead_follows_its_equations():
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    lookahead = Lookahead([weight], every=3, share=0.25)
    slow = fast = 1.0
    for step in range(1, 10):
        fast *= 0.9
        with torch.no_grad():
            weight.mul_(0.9)
        lookahead.step()
        if step % 3 == 0:
            slow += 0.25 * (fast - slow)
            fast = slow
        assert weight.item() == pytest.approx(fast, rel=1e-12)


def test_average_follows_its_equation_and_is_lent_alone():
    model = nn.Linear(1, 1, bias=False).double()
    average = AveragedWeights(model.parameters(), decay=0.5)
    expected = model.weight.item()
    for step in range(20):
        with torch.no_grad():
            model.weight.fill_(step**2)
        average.step()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step**2
    with average.applied():
        assert model.weight.item() == pytest.approx(expected, rel=1e-12)
    assert model.weight.item() == 19**2
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert model.weight.item() == 19**2


def test_averaged_weights_are_validated_and_kept_and_do_not_touch_the_training(inputs, tmp_path):
    model = build(posterior="none")
    run(inputs, tmp_path / "own", model=model, epochs=4, learning_rate=0.01, scheduler="none")
    run(inputs, tmp_path / "ema", model=model, epochs=4, learning_rate=0.01, scheduler="none", ema_decay=0.95)
    own, averaged = epochs(tmp_path / "own"), epochs(tmp_path / "ema")
    assert [record["train"] for record in own] == [record["train"] for record in averaged]
    assert own[-1]["validation"] != averaged[-1]["validation"]
    sources = [ModelInputs.open(path) for path in list_inputs(inputs, "validation").values()]
    batch = next(BatchStream(sources, batch_size=10**6).batches())
    for which, record in (("last", averaged[-1]), ("best", min(averaged, key=lambda r: r["validation"]["total"]))):
        loaded = load_model(tmp_path / "ema", model, which=which)
        assert loaded.loss(batch)["reconstruction"].item() == pytest.approx(record["validation"]["reconstruction"])


def test_bf16_is_coarser_and_trains_as_well(inputs, tmp_path):
    model = build(posterior="none")
    fine = run(inputs, tmp_path / "fp32", model=model, epochs=3)
    coarse = run(inputs, tmp_path / "bf16", model=model, epochs=3, precision="bf16")
    assert all(value.dtype == torch.float32 for value in coarse.values())
    assert not same(fine, coarse)
    one, other = (epochs(tmp_path / name)[-1]["validation"]["total"] for name in ("fp32", "bf16"))
    assert one == pytest.approx(other, rel=0.02)


def test_fp16_on_a_cpu_is_a_readable_error(inputs, tmp_path):
    with pytest.raises(ConfigError, match=r"only a GPU(.|\n)*allowed: fp32, bf16"):
        run(inputs, tmp_path / "t", precision="fp16")


# a process of its own, without the tests' checks of shapes, which can't be compiled
COMPILED = """
import functools, json, sys, warnings
from pathlib import Path
import models
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
build = functools.partial(models.build, models.parse(json.loads(sys.argv[3])))
settings = TrainingSettings(epochs=1, batch_size=64, tensorboard=False, num_threads=1, device="cpu", compile=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    train(Path(sys.argv[1]), Path(sys.argv[2]), build_model=build, settings=settings, seed=1, provenance={})
print([str(warning.message) for warning in caught if warning.category is UserWarning])
"""


def test_without_a_compiler_the_training_goes_on_and_says_so(inputs, tmp_path):
    (tmp_path / "compiled").mkdir()
    environment = {
        **os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-c", COMPILED, str(inputs), str(tmp_path / "compiled"), json.dumps(CONFIG)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.compile does not work here, the training goes on without it" in done.stdout
    plain = run(inputs, tmp_path / "plain", epochs=1)
    assert close(plain, load_file(tmp_path / "compiled/last.safetensors"))
