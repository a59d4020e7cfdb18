"""A Particle Transformer as ONNX gives the same probabilities, of batches and jets of any length."""

from __future__ import annotations

import pytest
import torch

from honeyguide.export.graph import input_tensors
from honeyguide.export.onnx import write_onnx
from tests.nn.test_weaver_particle_transformer import make_batch, make_tagger
from tests.nn.weaver_states import objects


def test_exported_it_is_the_same_at_any_length(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    small = {"num_layers": 1, "num_class_layers": 1, "embedding": [8], "num_heads": 2, "pair_layers": [6]}
    torch.manual_seed(1)
    tagger = make_tagger({"particles": 7}, 3, transformer=small)
    write_onnx(tagger, tmp_path / "model.onnx", {})
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for slots in (24, 20):
        batch = make_batch({"particles": objects(7, slots, torch.float32)})
        found = session.run(None, {name: tensor.numpy() for name, tensor in input_tensors(batch, tagger.spec).items()})
        with torch.no_grad():
            expected = torch.stack(list(tagger.score(batch).values()), 1)
        torch.testing.assert_close(torch.from_numpy(found[0]), expected, rtol=1e-4, atol=1e-5)
