"""ParticleNet: the published sizes, weaver-core's outputs, the literal layers, and a form without any bias."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import models
from benchmarks.literal.particle_net import LiteralParticleNet, literal_name
from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.errors import ModelError
from honeyguide.nn import particle_net
from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.model import Model
from honeyguide.nn.point_clouds import PackedCloud, PaddedCloud
from honeyguide.nn.weaver_particle_net import NAMES, from_weaver, to_weaver
from tests.planted import make_spec

ROOT = Path(__file__).resolve().parents[2]
NUM_FEATURES = 7
LENGTHS = (18, 25, 40, 31)
FULL: dict[str, Any] = {"edges": ((64, 64, 64), (128, 128, 128), (256, 256, 256)), "k": 16, "hidden": 256}
LITE: dict[str, Any] = {"edges": ((32, 32, 32), (64, 64, 64)), "k": 7, "hidden": 128}
SIZES = {"ParticleNet": FULL, "ParticleNetLite": LITE}
# logits of weaver-core 0.5.3 for weights and jets made by the formulas below, in float64
GOLDEN: dict[tuple[str, bool], list[list[float]]] = {
    ("ParticleNet", False): [
        [-1.2830259, -1.2959237],
        [-1.1850839, -1.3415417],
        [-0.9998145, -1.1615462],
        [-0.9730146, -1.2790398],
    ],
    ("ParticleNet", True): [
        [-1.0512033, -0.2783998],
        [-1.0302855, -0.2071716],
        [-1.0389313, -0.1488738],
        [-0.9708503, -0.095694],
    ],
    ("ParticleNetLite", False): [
        [1.6663211, 0.4051878],
        [1.5432195, 0.3306179],
        [1.6638363, 0.3176001],
        [1.5919956, 0.365257],
    ],
    ("ParticleNetLite", True): [
        [-0.8254843, -0.071751],
        [-0.8335933, -0.1776745],
        [-0.812456, -0.1706964],
        [-0.7866463, -0.1948645],
    ],
}


def pseudo_random(*shape: int, start: float) -> Tensor:
    """Values in [-1, 1) that are the same everywhere."""
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((torch.sin(12.9898 * numbers + start) * 43758.5453).frac() * 2 % 2 - 1).reshape(shape)


def weaver_shapes(
    edges: tuple[tuple[int, ...], ...], hidden: int, *, fusion: bool, **_: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of weaver-core's ParticleNet, in its order."""

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}

    shapes = norm("bn_fts", NUM_FEATURES)
    before = NUM_FEATURES
    for block, widths in enumerate(edges):
        name = f"edge_convs.{block}"
        inputs = 2 * before
        for number, width in enumerate(widths):
            shapes[f"{name}.convs.{number}.weight"] = (width, inputs, 1, 1)
            inputs = width
        for number, width in enumerate(widths):
            shapes |= norm(f"{name}.bns.{number}", width)
        shapes |= {f"{name}.sc.weight": (widths[-1], before, 1), **norm(f"{name}.sc_bn", widths[-1])}
        before = widths[-1]
    if fusion:
        total = sum(widths[-1] for widths in edges)
        before = min(max(total // 128 * 128, 128), 1024)
        shapes |= {"fusion_block.0.weight": (before, total, 1), **norm("fusion_block.1", before)}
    shapes |= {"fc.0.0.weight": (hidden, before), "fc.0.0.bias": (hidden,)}
    return shapes | {"fc.1.weight": (2, hidden), "fc.1.bias": (2,)}


def test_names_are_those_of_the_table_that_the_page_shows() -> None:
    state, page = weaver_state("ParticleNetLite", fusion=True), (ROOT / "docs/particle-networks.md").read_text()
    patterns = [re.sub(r"<.*?>", r"\\d", re.escape(theirs).replace(r"\*", ".*")) for theirs, _ in NAMES]
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in state)
    assert all(any(re.fullmatch(pattern, name) for name in state) for pattern in patterns)
    for theirs, ours in NAMES:
        assert f"| `{theirs}` | `{ours}` |" in page


def weaver_state(size: str, *, fusion: bool) -> dict[str, Tensor]:
    state = {}
    for number, (name, shape) in enumerate(
        weaver_shapes(SIZES[size]["edges"], SIZES[size]["hidden"], fusion=fusion).items()
    ):
        values = pseudo_random(*shape, start=number)
        if len(shape) > 1:
            values = values * (6 / shape[1]) ** 0.5
        elif name.endswith(("running_var", "weight")):
            values = 1 + values / 2
        state[name] = torch.tensor(3) if name.endswith("tracked") else values / (1 if len(shape) > 1 else 2)
    return state


def make_jets() -> tuple[Tensor, Tensor]:
    """Features (jet, particle, feature) and mask of jets that have more particles than any has neighbours."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return pseudo_random(*mask.shape, NUM_FEATURES, start=0.5).masked_fill(~mask.unsqueeze(2), 0), mask


def particles_spec(num_features: int = NUM_FEATURES, num_classes: int = 2) -> InputSpec:
    names = ["deta", "dphi", *(f"x{number}" for number in range(num_features - 2))]
    columns = tuple(Column(name=name, feature=name, kind="continuous") for name in names)
    spec = make_spec("row", shape=(0,), num_features=0, num_event_features=0)
    truths = tuple(f"t{number}" for number in range(num_classes))
    return spec.model_copy(update={"sets": (ObjectSet(name="particles", size=128, columns=columns),), "truths": truths})


def build(preset: str = "ParticleNet", spec: InputSpec | None = None, **values: Any) -> Model:
    torch.manual_seed(0)
    config = models.parse({"family": "tagger", "preset": preset, "embedding": None, **values})
    return models.build(config, spec or particles_spec())


def make_batch(features: Tensor, mask: Tensor) -> Batch:
    empty, codes = torch.zeros(len(mask), 0), torch.arange(len(mask))
    return Batch(
        objects=empty[..., None],
        mask=empty.bool(),
        event=empty,
        weight=torch.ones(len(mask)),
        label=torch.zeros_like(codes),
        generator=torch.zeros_like(codes),
        event_id=codes,
        truth=codes % 2,
        sets={"particles": Objects(features.float(), mask)},
    )


def logits(model: Model, batch: Batch) -> Tensor:
    found: Tensor = model.to_logits(model.latent(batch))
    return found


@pytest.mark.parametrize(
    ("preset", "num_features", "num_classes", "expected"),
    [
        ("ParticleNet", 7, 2, 366_160),
        ("ParticleNet", 17, 10, 370_156),
        ("ParticleNetLite", 7, 2, 26_416),
    ],
)
def test_sizes_are_the_published_ones(preset: str, num_features: int, num_classes: int, expected: int) -> None:
    model = build(preset, particles_spec(num_features, num_classes))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_weavers_weights_give_weavers_outputs(size: str, fusion: bool) -> None:
    """Of jets with more than k particles: in others weaver's empty slots are neighbours, and ours are not."""
    state = weaver_state(size, fusion=fusion)
    model = build(size, fusion=fusion).eval()
    model.load_state_dict(from_weaver(state), strict=True)
    torch.testing.assert_close(
        logits(model, make_batch(*make_jets())), torch.tensor(GOLDEN[size, fusion]), rtol=1e-4, atol=1e-5
    )
    wrapped = from_weaver({f"mod.{name}": tensor for name, tensor in state.items()})  # as the authors' example saves it
    back = to_weaver(wrapped)
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_convs.1.bns.0.bias": None}, "no edge_convs.1.bns.0.bias"),
        ({"edge_convs.0.sc.weight": None}, "no shortcut layer"),
        ({"fc.2.weight": torch.zeros(2, 2)}, r"fc\.2\.weight"),
        ({"fts_conv.weight": torch.zeros(2)}, "fts_conv"),
    ],
)
def test_weights_of_another_network_are_not_taken(change: dict[str, Tensor | None], message: str) -> None:
    state = weaver_state("ParticleNetLite", fusion=False) | change
    with pytest.raises(ModelError, match=message):
        from_weaver({name: value for name, value in state.items() if value is not None})


def literal_of(model: Model, size: str) -> LiteralParticleNet:
    """The literal network with the weights of ours."""
    widths = SIZES[size]
    literal = LiteralParticleNet(
        NUM_FEATURES, 2, edge_layers=widths["edges"], num_neighbours=widths["k"], hidden=widths["hidden"]
    )
    literal.load_weaver(to_weaver(model.state_dict()))
    return literal


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_layers_are_the_literal_ones(size: str, training: bool) -> None:
    """With all gradients; in training without padding, which the published batch normalisations count."""
    features, mask = make_jets()
    if training:
        features, mask = features[:, : min(LENGTHS)], mask[:, : min(LENGTHS)]
    model = build(size, dropout=0.0).train(training)
    literal = literal_of(model, size).train(training)
    literal.head[2].p = 0.0
    inputs = features.float().transpose(1, 2).contiguous()
    direction = pseudo_random(len(mask), 2, start=3.0).float()
    expected, found = literal(inputs[:, :2], inputs, mask[:, None]), logits(model, make_batch(features, mask))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (expected * direction).sum().backward()
    (found * direction).sum().backward()
    own = {name: value.grad for name, value in model.named_parameters()}
    gradients = to_weaver({name: own.get(name, value) for name, value in model.state_dict().items()})
    by_name = {literal_name(name): gradient for name, gradient in gradients.items()}
    for name, value in literal.named_parameters():
        torch.testing.assert_close(by_name[name].reshape(value.shape), value.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_padded_table_gives_what_the_packed_one_gives(
    training: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former is that of GPUs and of what is compiled; also for few, one or no particles."""
    features, mask = make_jets()
    mask = mask & (torch.arange(mask.shape[1]) < torch.tensor([3, 40, 1, 0]).unsqueeze(1))
    batch = make_batch(features.masked_fill(~mask[..., None], 0), mask)
    results = []
    for make in (particle_net.make_cloud, PaddedCloud):
        monkeypatch.setattr(particle_net, "make_cloud", make)
        model = build("ParticleNetLite", fusion=True, dropout=0.0, bias=bias).train(training)
        found = logits(model, batch)
        found.sum().backward()
        results.append([found, *(parameter.grad for parameter in model.parameters()), *model.buffers()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


def test_without_biases_it_has_none() -> None:
    model = build("ParticleNetLite", bias=False, fusion=True).eval()
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert not [module for module in model.modules() if isinstance(module, MaskedBatchNorm) and module.affine]
    batch = make_batch(*make_jets())
    assert logits(model, batch).abs().sum() > 0
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    for training in (False, True):
        assert not logits(model.train(training), batch).any()


def test_in_bfloat16_neighbours_are_looked_for_in_full_precision() -> None:
    """Of particles whose places bfloat16 can't tell apart."""
    features, mask = make_jets()
    points = features.float()[..., :2] + 100
    assert points.bfloat16().unique().numel() == 5
    batch, model = make_batch(features, mask), build("ParticleNetLite").eval()
    expected, blocks = logits(model, batch), []
    for block in model.network.blocks:
        block.register_forward_hook(lambda _block, _inputs, output: blocks.append(output.dtype))
    cloud = PackedCloud(mask)
    near = cloud.neighbours(cloud.table(points), 7).index
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cloud.neighbours(cloud.table(points), 7).index, near)
        found = logits(model, batch).float()
    assert blocks == [torch.float32, torch.float32]
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


# a process of its own, without the tests' checks of shapes, which can't be compiled
COMPILED = """
import torch
from tests.nn import test_deepjet_transformer as other
from tests.nn.test_particle_net import build, logits, make_batch, make_jets
features, mask = make_jets()
mask[0, 3:], mask[1, 1:] = False, False
batch = make_batch(features.masked_fill(~mask[..., None], 0), mask)
for training in (False, True):
    model = build("ParticleNetLite", dropout=0.0, fusion=True, edge_layers=[[8], [8]]).train(training)
    compiled = torch.compile(lambda batch: logits(model, batch), backend="eager", fullgraph=True)
    expected = logits(model, batch)
    torch.testing.assert_close(compiled(batch), expected, rtol=1e-3, atol=1e-4)
    model = other.build(dropout=0.0, deepjet_transformer=other.SMALL).train(training)
    compiled = torch.compile(model.latent, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(other.make_batch()), model.latent(other.make_batch()), rtol=1e-3, atol=1e-4)
print("compiled")
"""


def test_it_compiles_as_one_graph_and_so_does_deepjet_transformer() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "compiled\n", done.stderr
