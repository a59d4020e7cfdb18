"""A Particle Transformer as ONNX gives the same probabilities, of batches and jets of any length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# a process of its own, without the tests' checks of shapes, which can't be exported
EXPORT = """
import sys
from pathlib import Path
import onnxruntime
import torch
from honeyguide.export.graph import input_tensors
from honeyguide.export.onnx import write_onnx
from tests.nn.test_weaver_particle_transformer import make_batch, make_tagger
from tests.nn.weaver_states import objects
small = {"num_layers": 1, "num_class_layers": 1, "embedding": [8], "num_heads": 2, "pair_layers": [6]}
torch.manual_seed(1)
tagger = make_tagger({"particles": 7}, 3, transformer=small)
write_onnx(tagger, Path(sys.argv[1]), {})
session = onnxruntime.InferenceSession(sys.argv[1])
for slots in (24, 20):
    batch = make_batch({"particles": objects(7, slots, torch.float32)})
    found = session.run(None, {name: tensor.numpy() for name, tensor in input_tensors(batch, tagger.spec).items()})
    with torch.no_grad():
        expected = torch.stack(list(tagger.score(batch).values()), 1)
    torch.testing.assert_close(torch.from_numpy(found[0]), expected, rtol=1e-4, atol=1e-5)
"""


def test_exported_it_is_the_same_at_any_length(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    command = [sys.executable, "-c", EXPORT, str(tmp_path / "model.onnx")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
