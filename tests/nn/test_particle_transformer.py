"""The Particle Transformer against its literal form, and what padding, order and missing biases must (not) do."""

from __future__ import annotations

import copy
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.literal.particle_transformer import LiteralParticleTransformer
from honeyguide.data.batch import Objects
from honeyguide.nn import normalised_layers
from honeyguide.nn.attention import BlockStyle, TransformerBlock
from honeyguide.nn.dropout import dropout
from honeyguide.nn.pair_features import PairEmbedding, kinematics, pair_features, symmetric_matrix
from honeyguide.nn.pair_index import PairIndex, triangle
from honeyguide.nn.particle_transformer import ParticleTransformer
from honeyguide.nn.weaver_particle_transformer import to_weaver

SMALL = {"num_layers": 2, "num_class_layers": 1, "embedding": (12, 8), "pair_layers": (6,)}


class Both(torch.nn.Module):
    """Ours with a classifier, and a literal one with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.ours = ParticleTransformer([7], style=BlockStyle(dropout=0.0))
        self.to_logits = torch.nn.Linear(128, 10)
        with torch.no_grad():
            for parameter in self.parameters():  # away from a start at which much is 0 or 1
                parameter += 0.05 * torch.randn_like(parameter)
            for name, buffer in self.named_buffers():
                if buffer.is_floating_point():
                    buffer += 0.3 * torch.rand_like(buffer)
                assert "running" in name or "num_batches" in name
        self.literal = LiteralParticleTransformer(7, 10, dropout=0.0)
        own = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("literal.")}
        self.literal.load_state_dict(older(own))

    def logits(self, jets: Objects) -> torch.Tensor:
        """What ours makes of jets."""
        return self.to_logits(self.ours([jets]))


def older(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as weaver's first versions have them."""
    weaver = to_weaver({re.sub("^ours", "network.transformer", name): tensor for name, tensor in state.items()})
    return {name.replace("in_proj.", "in_proj_"): tensor for name, tensor in weaver.items()}


def top_jets(folder: Path, number: int) -> Objects:
    """Real jets; random features."""
    data = np.load(folder / "jets/top_landscape_1000.npz")
    mask = torch.tensor(data["mask"][:number, 0] > 0)
    vectors = torch.tensor(data["vectors"][:number]).transpose(1, 2).masked_fill(~mask[..., None], 0)
    torch.manual_seed(2)
    return Objects(torch.randn(*mask.shape, 7).masked_fill(~mask[..., None], 0), mask, vectors)


def dense_jets(number: int, slots: int) -> Objects:
    """Jets without padding."""
    torch.manual_seed(3)
    momenta = torch.randn(number, slots, 3, dtype=torch.float64) * 20
    vectors = torch.cat([momenta, (momenta.square().sum(-1, keepdim=True) + 0.02).sqrt()], -1)
    mask = torch.ones(number, slots, dtype=torch.bool)
    return Objects(torch.randn(number, slots, 7, dtype=torch.float64), mask, vectors)


def test_it_is_what_is_published(shared_data: Path) -> None:
    both, jets = Both().eval(), top_jets(shared_data, 12)
    with torch.inference_mode():
        expected = both.literal(jets.features, jets.vectors, jets.mask)
        torch.testing.assert_close(both.logits(jets), expected, rtol=1e-4, atol=1e-4)


def test_it_learns_as_what_is_published() -> None:
    both, jets = Both().double().train(), dense_jets(5, 9)
    target = torch.arange(5)
    expected = both.literal(jets.features, jets.vectors, jets.mask)
    torch.testing.assert_close(both.logits(jets), expected, rtol=1e-9, atol=1e-9)
    for logits in (expected, both.logits(jets)):
        torch.nn.functional.cross_entropy(logits, target).backward()
    own = {n: p.grad for n, p in both.named_parameters() if not n.startswith("literal.")}
    found = older(own)
    for name, parameter in both.literal.named_parameters():
        torch.testing.assert_close(
            found[name], parameter.grad, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def small(version: int = 1, *, bias: bool = True, num_row_features: int = 0, **style: object) -> ParticleTransformer:
    torch.manual_seed(4)
    blocks = BlockStyle(version=version, num_heads=2, bias=bias, **style)
    return ParticleTransformer([3, 2], style=blocks, num_row_features=num_row_features, **SMALL)


def two_sets(number: int = 6) -> list[Objects]:
    """Jets of several lengths: one without objects, one with a hole, one full."""
    torch.manual_seed(5)
    sets = []
    for slots, width in ((9, 3), (4, 2)):
        jets = dense_jets(number, slots)
        mask = torch.rand(number, slots) < torch.linspace(0.2, 1.2, number)[:, None]
        mask[0], mask[1, :2] = False, torch.tensor([False, True])
        empty = ~mask[..., None]
        sets.append(Objects(jets.features[..., :width].masked_fill(empty, 0), mask, jets.vectors.masked_fill(empty, 0)))
    return sets


@pytest.mark.parametrize(
    ("version", "num_features", "num_classes", "expected"),
    [
        (1, 17, 10, 2_143_486),
        (1, 7, 10, 2_142_166),
        (1, 7, 2, 2_141_134),
        (2, 17, 10, 2_789_806),
        (3, 17, 10, 2_770_278),
    ],
)
def test_parameters_are_as_many_as_published(version, num_features, num_classes, expected) -> None:
    network = ParticleTransformer([num_features], style=BlockStyle(version=version))
    classifier = torch.nn.Linear(network.num_outputs, num_classes)
    assert sum(p.numel() for module in (network, classifier) for p in module.parameters()) == expected


def run(
    network: ParticleTransformer, sets: list[Objects], event: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Outputs, gradients and running statistics after one step."""
    network.zero_grad()
    outputs = network(sets, event)
    (outputs * torch.arange(outputs.numel()).view_as(outputs)).sum().backward()
    state = {f"gradient of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"outputs": outputs.detach(), **state, **{name: b.clone() for name, b in network.named_buffers()}}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_padding_that_stays_changes_nothing(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sets, event = two_sets(), torch.randn(6, 2, dtype=torch.float64)
    found = []
    for stays in (False, True):
        network = small(version, num_row_features=2, dropout=0.0, drop_path=0.0).double().train()
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda stays=stays: stays)
        first = run(network, sets, event)
        found.append({**first, "later": network.eval()(sets, event).detach()})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], msg=lambda m, n=name: f"{n}: {m}")
    assert found[0]["outputs"].isfinite().all()


def test_running_means_are_those_of_real_objects_and_pairs() -> None:
    sets = two_sets()
    network = small().double().train()
    network(sets)
    rows = sets[0].features[sets[0].mask]
    torch.testing.assert_close(network.embeddings[0].norm.running_mean, 0.1 * rows.mean(0))
    pairs = []
    for jet in range(6):
        own = torch.cat([item.vectors[jet][item.mask[jet]] for item in sets])
        particles = kinematics(own)
        for i in range(len(own)):
            pairs += [pair_features(particles[:, i], particles[:, j]) for j in range(i + 1)]
    torch.testing.assert_close(network.pair_embedding.norm.running_mean, 0.1 * torch.stack(pairs).mean(0))


@pytest.mark.parametrize("frozen", ["all", "one"])
def test_normalisations_of_pairs_that_are_frozen_stay_as_they_are(frozen: str) -> None:
    torch.manual_seed(1)
    embedding = PairEmbedding([5, 6], 2, bias=True, affine=True).train()
    norms = [embedding.norm, *embedding.norms] if frozen == "all" else [embedding.norms[1]]
    for norm in norms:
        norm.eval()
    before = {name: value.clone() for name, value in embedding.state_dict().items()}
    pairs = torch.randn(50, 4)
    found = embedding(pairs)
    moved = [name for name, value in embedding.state_dict().items() if not torch.equal(value, before[name])]
    free = [] if frozen == "all" else [name for name in before if "running" in name and "norms.1" not in name]
    assert moved == free
    torch.testing.assert_close(found, embedding(pairs, torch.ones(50, dtype=torch.bool)))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_without_biases_nothing_but_matrices_is_left(version: int) -> None:
    network = small(version, bias=False, num_row_features=2, layer_scale=0.5)
    assert {parameter.dim() for parameter in network.parameters()} == {2}
    assert not any("norm" in name or "token" in name or "bias" in name for name, _ in network.named_parameters())
    for layer in network.modules():
        assert getattr(layer, "bias", None) is None
    network.double().train()(two_sets(), torch.ones(6, 2, dtype=torch.float64))  # moves running means
    with torch.no_grad():
        assert network.eval()(two_sets(), torch.ones(6, 2, dtype=torch.float64)).any()
        for parameter in network.parameters():
            parameter.zero_()
        for training in (False, True):
            assert not network.train(training)(two_sets(), torch.ones(6, 2, dtype=torch.float64)).any()


def test_attention_maps_are_the_weights_of_the_attention(shared_data: Path) -> None:
    both, jets = Both().eval(), top_jets(shared_data, 3)
    seen = []
    for block in [*both.literal.blocks, *both.literal.cls_blocks]:
        block.attn.register_forward_hook(lambda *args: seen.append(args[2][1]))
    with torch.no_grad():
        both.literal(jets.features, jets.vectors, jets.mask)
        maps = both.ours.attention_maps([jets])
    assert list(maps) == [*(f"attention/{i}" for i in range(8)), *(f"class_attention/{i}" for i in range(2))]
    real = (jets.mask[:, :, None] & jets.mask[:, None]).unsqueeze(1)
    for number, expected in enumerate(seen[:8]):  # torch's layer gives the mean over the heads
        weights = maps[f"attention/{number}"]
        assert not weights.masked_fill(real, 0).any()
        torch.testing.assert_close(weights.mean(1)[real[:, 0]], expected[real[:, 0]], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(maps["class_attention/1"].mean(1), seen[9][:, 0], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(maps["class_attention/0"].sum(-1), torch.ones(3, 8))


def test_weights_begin_as_the_authors_ones_do() -> None:
    torch.manual_seed(6)
    network = ParticleTransformer([7])
    third = network.blocks[2]
    for weight, limit in (
        (third.attention_in.weight, math.sqrt(6 / 256)),
        (third.attention_out.weight, math.sqrt(6 / 256 / 6)),
        (third.hidden_in.weight, math.sqrt(6 / 640)),
        (third.hidden_out.weight, math.sqrt(6 / 640 / 6)),
        (network.class_blocks[1].hidden_out.weight, math.sqrt(6 / 640)),
        (network.embeddings[0].layers[4].weight, math.sqrt(6 / 640)),
        (network.pair_embedding.linears[1].weight, 1 / 8),
    ):
        assert 0.98 * limit < weight.abs().max() <= limit
    assert not third.hidden_in.bias.any()
    assert network.pair_embedding.linears[0].bias.any()
    assert 0.01 < network.class_token.std() < 0.03


def test_features_of_a_pair_are_those_of_the_closed_form() -> None:
    pt, eta, phi = torch.tensor([[40.0, 25.0], [0.3, -0.5], [3.0, -3.0]], dtype=torch.float64)
    vectors = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh(), pt * eta.cosh()], -1)
    particles = kinematics(vectors)
    turn = 2 * math.pi - 6.0
    delta = math.hypot(0.8, turn)
    mass_squared = 2 * 40 * 25 * (math.cosh(0.8) - math.cos(turn))
    expected = [math.log(25 * delta), math.log(25 / 65), math.log(delta), math.log(mass_squared)]
    assert pair_features(particles[:, 0], particles[:, 1]).tolist() == pytest.approx(expected)
    itself = pair_features(particles[:, 1], particles[:, 1])
    assert itself.tolist()[:3] == pytest.approx([math.log(1e-8), math.log(0.5), math.log(1e-8)])
    backwards = torch.tensor([[0.0, 0.0, -50.0, 50.0], [0.0, 0.0, 50.0, 50.0], [0.0, 0.0, 0.0, 0.0]])
    particles = kinematics(backwards)
    assert pair_features(particles[:, [0, 0, 1]], particles[:, [1, 2, 2]]).isfinite().all()


def test_pairs_find_their_places_and_gradients() -> None:
    count = torch.tensor([5, 4, 4, 1, 0])
    index = PairIndex(count)
    assert index.groups() == [(0, 3), (3, 4), (4, 5)]
    for low, high in index.groups()[:2]:
        places, lower = index.places(low, high)
        number = torch.arange(index.num_pairs(low, high), dtype=torch.float64, requires_grad=True)
        matrix = symmetric_matrix(number, places, lower)
        for jet in range(high - low):
            size = int(count[low + jet])
            rows, columns = torch.tril_indices(size, size)
            before = int((count[low : low + jet] * (count[low : low + jet] + 1) // 2).sum())
            assert matrix[jet][rows, columns].tolist() == list(range(before, before + len(rows)))
            assert torch.equal(matrix[jet, :size, :size], matrix[jet, :size, :size].T)
        weight = torch.rand_like(matrix) * index.present(low, high)[:, None] * index.present(low, high)[:, :, None]
        (found,) = torch.autograd.grad((matrix * weight).sum(), number)
        taken = number.detach()[places].flatten().long()
        torch.testing.assert_close(found, torch.zeros_like(found).index_add(0, taken, weight.flatten()))
    assert triangle(3, count.device).tolist() == [[0, 1, 3], [1, 2, 4], [3, 4, 5]]


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(7)
    values = torch.full((301, 333), 2.0, requires_grad=True)
    dropped = dropout(values, 0.1, training=True)
    zero = dropped == 0
    assert float(zero.float().mean()) == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / values.numel()))
    torch.testing.assert_close(dropped[~zero], torch.full_like(dropped[~zero], 2 / 0.9), rtol=1e-4, atol=0)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach() / 2)
    pairs = zero.flatten()[:-1] & zero.flatten()[1:]  # four values share a draw: they must not share their fate
    assert float(pairs.float().mean()) == pytest.approx(0.01, abs=0.002)
    assert dropout(values, 0.1, training=False) is values


def test_layers_in_pieces_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalised_layers, "CHUNK", 7)
    torch.manual_seed(9)
    for affine in (True, False):
        embedding = PairEmbedding((6, 5), 3, bias=affine, affine=affine, activation=affine).double().train()
        plain = copy.deepcopy(embedding)
        rows = torch.randn(23, 4, dtype=torch.float64)
        expected = plain.norm(rows)
        for number, (linear, norm) in enumerate(zip(plain.linears, plain.norms, strict=True)):
            expected = norm(linear(expected if number == 0 else torch.nn.functional.gelu(expected)))
        expected = torch.nn.functional.gelu(expected) if affine else expected
        found, weight = embedding(rows), torch.randn(23, 3, dtype=torch.float64)
        torch.testing.assert_close(found, expected)
        (expected * weight).sum().backward()
        (found * weight).sum().backward()
        for (name, own), other in zip(embedding.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, msg=lambda m, n=name: f"{n}: {m}")
        for own, other in zip(embedding.buffers(), plain.buffers(), strict=True):
            if own.is_floating_point():
                torch.testing.assert_close(own, other)


def test_a_dropped_path_passes_the_block_by() -> None:
    torch.manual_seed(8)
    block = TransformerBlock(BlockStyle(version=3, width=8, num_heads=2, drop_path=0.5)).train()
    values = torch.randn(200, 3, 8)
    change = (block(values, torch.zeros(200, 2, 3, 3)) - values).flatten(1).abs().amax(1)
    assert 0.15 < float((change == 0).float().mean()) < 0.35  # both halves of the block


def test_half_precision_stays_near() -> None:
    sets = [Objects(item.features.float(), item.mask, item.vectors.float()) for item in two_sets()]
    network = small().eval()
    with torch.no_grad():
        single = network(sets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(network(sets).float(), single, rtol=0.1, atol=0.1)


# a process of its own, without the tests' checks of shapes, which can't be compiled
COMPILED = """
import torch
from honeyguide.data.batch import Objects
from honeyguide.nn.attention import BlockStyle
from honeyguide.nn.particle_transformer import ParticleTransformer
torch.manual_seed(1)
network = ParticleTransformer([3], style=BlockStyle(num_heads=2, dropout=0.0), num_layers=1, num_class_layers=1,
                              embedding=(8,), pair_layers=(6,)).double()
momenta = torch.randn(4, 5, 3).double() * 20
vectors = torch.cat([momenta, (momenta.square().sum(-1, keepdim=True) + 0.02).sqrt()], -1)
mask = torch.rand(4, 5) < 0.7
sets = [Objects(torch.randn(4, 5, 3).double(), mask, vectors)]
state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
for function in (network, torch.compile(network, fullgraph=True, backend="aot_eager")):
    network.load_state_dict(state)
    network.zero_grad()
    outputs = function(sets)
    outputs.square().sum().backward()
    print(repr([*outputs.flatten().tolist(), *network.blocks[0].attention_in.weight.grad.flatten().tolist(),
                *network.pair_embedding.linears[0].weight.grad.flatten().tolist()]))
"""


def test_it_compiles_as_one_graph() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    plain, compiled = (torch.tensor(eval(line), dtype=torch.float64) for line in done.stdout.splitlines())
    torch.testing.assert_close(compiled, plain)
