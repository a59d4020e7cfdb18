"""Training and streams on a GPU, where there is one."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

import models
from honeyguide.data import streams
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.streams import BatchStream
from honeyguide.training.progress import SilentProgress
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from tests.planted import write_inputs, write_row_inputs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU in this machine")


@pytest.mark.parametrize("resident", [0, 10**9])
def test_batches_are_those_of_the_cpu(tmp_path, monkeypatch, resident):
    monkeypatch.setattr(streams, "POOL_BYTES", 10_000)
    sources = [ModelInputs.open(path) for path in list_inputs(write_inputs(tmp_path / "inputs"), "train").values()]
    expected = BatchStream(sources, batch_size=64, shuffle_seed=1)
    found = BatchStream(sources, batch_size=64, shuffle_seed=1, device="cuda", resident_bytes=resident)
    for one, other in zip(expected.batches(3), found.batches(3), strict=True):
        assert other.objects.is_cuda
        assert all(torch.equal(value, other.tensors()[name].cpu()) for name, value in one.tensors().items())


class Strict(SilentProgress):
    """Makes everything in the midst of an epoch an error that waits for the GPU."""

    def __init__(self, num_steps: int) -> None:
        self._left = num_steps

    def batch(self, _: int) -> None:
        """Is strict from the first step, which sets things up, to the last."""
        self._left -= 1
        torch.cuda.set_sync_debug_mode("error" if self._left > 0 else "default")


AUTOENCODER = {"family": "vae", "hidden": [16], "latent_dim": 3}


@pytest.mark.parametrize(
    ("model", "write", "settings"),
    [
        (AUTOENCODER, write_inputs, {}),
        (AUTOENCODER, write_inputs, {"resident_mb": 0}),
        (AUTOENCODER, write_inputs, {"gradient_clip": 1.0, "ema_decay": 0.9, "accumulate": 2}),
        ({"family": "DeepJet"}, write_row_inputs, {}),
    ],
)
def test_no_step_waits_for_the_gpu(tmp_path, monkeypatch, model, write, settings):
    monkeypatch.setattr(streams, "POOL_BYTES", 10_000)
    inputs = write(tmp_path / "inputs")
    config = models.parse(model)
    (tmp_path / "t").mkdir()
    steps = -(-600 // (64 * settings.get("accumulate", 1)))
    train(
        inputs,
        tmp_path / "t",
        build_model=functools.partial(models.build, config),
        settings=TrainingSettings(
            **({"epochs": 1, "batch_size": 64, "device": "cuda", "tensorboard": False} | settings)
        ),
        seed=1,
        provenance={},
        session=Session(progress=Strict(steps)),
    )


def test_training_follows_the_cpu(tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    config = models.parse({"family": "vae", "hidden": [16], "latent_dim": 3, "posterior": "none"})
    totals = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        settings = TrainingSettings(epochs=2, batch_size=64, device=device, tensorboard=False)
        train(
            inputs,
            folder,
            build_model=functools.partial(models.build, config),
            settings=settings,
            seed=1,
            provenance={},
        )
        epochs = json.loads((folder / "metrics.json").read_text())["epochs"]
        totals.append([record["validation"]["total"] for record in epochs])
    np.testing.assert_allclose(totals[0], totals[1], rtol=1e-3)
