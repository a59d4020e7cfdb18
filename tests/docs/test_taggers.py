"""The network in docs/taggers.md is one: it is built, trained a step, and sees no padding."""

from __future__ import annotations

import types
from dataclasses import replace

import torch

import models
from honeyguide.data.batch import Batch, Objects
from models.tagger import model as tagger
from tests.docs.pages import blocks, text_of
from tests.planted import make_row_spec, make_rows


def test_the_network_of_the_page_is_one(monkeypatch):
    (block,) = [block for block in blocks(text_of("docs/taggers.md")) if block.language == "python"]
    assert block.file == "models/tagger/deep_sets.py"
    module = types.ModuleType("deep_sets")
    exec(compile(block.text, block.file, "exec"), vars(module))
    monkeypatch.setitem(tagger.NETWORKS, "mlp", module.DeepSets)
    torch.manual_seed(0)
    model = models.build(models.parse({"family": "tagger", "network": "mlp", "hidden": [12, 8]}), make_row_spec())
    arrays = {name: torch.from_numpy(array) for name, array in make_rows(50, first_id=1).items()}
    wanted = ("objects", "mask", "event", "event_id")
    batch = Batch.from_tensors(
        {name: arrays[name] for name in arrays if name in wanted or "/" in name}
        | {name: arrays[name].float() for name in ("weight",)}
        | {name: arrays[name].long() for name in ("label", "generator", "truth")}
    )
    model.loss(batch)["cross_entropy"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    padded = {
        name: Objects(item.features.masked_fill(~item.mask.unsqueeze(-1), torch.nan), item.mask)
        for name, item in batch.sets.items()
    }
    assert torch.equal(model.eval().latent(batch), model.latent(replace(batch, sets=padded)))
    assert model.latent(batch).shape == (50, 8)
