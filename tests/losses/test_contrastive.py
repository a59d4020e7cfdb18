"""Contrastive losses against double loops, closed forms, and one process against two."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from honeyguide.losses.contrastive import ntxent, supervised_contrastive

ROOT = Path(__file__).resolve().parents[2]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def looped_supervised(latent: torch.Tensor, label: list[int], temperature: float) -> list[float]:
    losses = []
    for i in range(len(latent)):
        exponentials = {j: math.exp(cosine(latent[i], latent[j]) / temperature) for j in range(len(latent)) if j != i}
        shares = [value / sum(exponentials.values()) for j, value in exponentials.items() if label[j] == label[i]]
        losses.append(-sum(math.log(share) for share in shares) / len(shares) if shares else 0.0)
    return losses


def looped_ntxent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> list[float]:
    views = [row for pair in zip(first, second, strict=True) for row in pair]
    losses = []
    for i, view in enumerate(views):
        partner = i + 1 if i % 2 == 0 else i - 1
        denominator = sum(math.exp(cosine(view, other) / temperature) for j, other in enumerate(views) if j != i)
        losses.append(-cosine(view, views[partner]) / temperature + math.log(denominator))
    return [(losses[i] + losses[i + 1]) / 2 for i in range(0, len(losses), 2)]


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_supervised_agrees_with_a_double_loop(temperature):
    torch.manual_seed(1)
    latent = torch.randn(9, 4, dtype=torch.float64) * torch.logspace(-2, 2, 9, dtype=torch.float64)[:, None]
    label = [0, 1, 2, 0, 1, 0, 7, 1, 0]  # 2 and 7 have one member each
    result = supervised_contrastive(latent, torch.tensor(label), temperature=temperature)
    assert result.tolist() == pytest.approx(looped_supervised(latent, label, temperature), rel=1e-9)
    assert result[2] == result[6] == 0


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_ntxent_agrees_with_a_double_loop(temperature):
    torch.manual_seed(2)
    first, second = torch.randn(6, 3, dtype=torch.float64), 5 * torch.randn(6, 3, dtype=torch.float64)
    result = ntxent(first, second, temperature=temperature)
    assert result.tolist() == pytest.approx(looped_ntxent(first, second, temperature), rel=1e-9)


def test_supervised_of_separated_labels_has_its_closed_form():
    # n events of each of two labels on opposite ends: -log(e^(1/T) / ((n-1) e^(1/T) + n e^(-1/T)))
    n, temperature = 5, 0.5
    latent = torch.tensor([[1.0, 0.0]] * n + [[-1.0, 0.0]] * n)
    label = torch.tensor([0] * n + [1] * n)
    result = supervised_contrastive(latent, label, temperature=temperature)
    expected = math.log(n - 1 + n * math.exp(-2 / temperature))
    torch.testing.assert_close(result, torch.full((2 * n,), expected))


def test_ntxent_of_orthogonal_events_has_its_closed_form():
    result = ntxent(torch.eye(4), 3 * torch.eye(4), temperature=0.2)
    torch.testing.assert_close(result, torch.full((4,), math.log(math.exp(5) + 6) - 5))


def test_a_lone_event_has_no_loss_but_pushes_the_others():
    latent = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3]], requires_grad=True)
    result = supervised_contrastive(latent, torch.tensor([0, 0, 1]), temperature=0.1)
    assert result[2] == 0
    result.sum().backward()
    assert latent.grad is not None
    assert torch.linalg.vector_norm(latent.grad[2]) > 0.1


@pytest.mark.parametrize("size", [1, 2, 6])
def test_extreme_batches_have_finite_losses_and_gradients(size):
    for latent in (torch.zeros(size, 3), torch.full((size, 3), 1e15), torch.eye(3).repeat(2, 1)[:size] * 1e-12):
        latent = latent.clone().requires_grad_()
        for label in (torch.zeros(size, dtype=torch.int64), torch.arange(size)):
            result = supervised_contrastive(latent, label, temperature=1e-3) + ntxent(latent, -latent, temperature=1e-3)
            (gradient,) = torch.autograd.grad(result.sum(), latent)
            assert torch.isfinite(result).all()
            assert torch.isfinite(gradient).all()


def test_mixed_precision_keeps_the_digits():
    torch.manual_seed(3)
    latent, label = torch.randn(32, 8), torch.arange(32) % 3
    exact = supervised_contrastive(latent, label, temperature=0.07)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = supervised_contrastive(latent, label, temperature=0.07)
        views = ntxent(latent, latent.flip(0), temperature=0.07)
    torch.testing.assert_close(under_autocast, exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(views, ntxent(latent, latent.flip(0), temperature=0.07), rtol=1e-6, atol=0)
    assert supervised_contrastive(latent.bfloat16(), label, temperature=0.07).dtype == torch.float32


def test_descent_gathers_labels_and_parts_them():
    torch.manual_seed(4)
    latent, label = torch.randn(12, 2, requires_grad=True), torch.arange(12) % 2
    optimizer = torch.optim.Adam([latent], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        supervised_contrastive(latent, label, temperature=0.5).mean().backward()
        optimizer.step()
    directions = functional.normalize(latent.detach(), dim=1)
    cosines = directions @ directions.T
    same = label[:, None] == label
    assert cosines[same].min() > 0.9
    assert cosines[~same].max() < -0.9


# two processes

SIZES = (5, 3)
PROGRAM = """
import sys
import torch
from torch import distributed
from honeyguide.losses.contrastive import ntxent, supervised_contrastive

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
case = torch.load(f"{folder}/case.pt")
start = sum(case["sizes"][:rank])
part = slice(start, start + case["sizes"][rank])
results = {}
for name in ("supervised", "ntxent"):
    linear = torch.nn.Linear(6, 4, dtype=torch.float64)
    linear.load_state_dict(case["state"])
    first, second = linear(case["first"][part]), linear(case["second"][part])
    if name == "supervised":
        losses = supervised_contrastive(first, case["label"][part], temperature=0.1, across_ranks=True)
    else:
        losses = ntxent(first, second, temperature=0.1, across_ranks=True)
    # the trainer's mean over the joined batch, in the share of this rank; DDP averages the gradients over ranks
    (losses.sum() * 2 / sum(case["sizes"])).backward()
    for parameter in linear.parameters():
        distributed.all_reduce(parameter.grad)
        parameter.grad /= 2
    results[name] = (losses.detach(), [parameter.grad for parameter in linear.parameters()])
torch.save(results, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_have_the_loss_and_gradient_of_the_joined_batch(tmp_path):
    torch.manual_seed(5)
    linear = torch.nn.Linear(6, 4, dtype=torch.float64)
    first, second = torch.randn(2, sum(SIZES), 6, dtype=torch.float64)
    label = torch.tensor([0, 1, 2, 0, 1, 1, 0, 3])
    case = {"sizes": SIZES, "state": linear.state_dict(), "first": first, "second": second, "label": label}
    torch.save(case, tmp_path / "case.pt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    by_rank = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = {
        "supervised": supervised_contrastive(linear(first), label, temperature=0.1),
        "ntxent": ntxent(linear(first), linear(second), temperature=0.1),
    }
    for name, losses in alone.items():
        gradients = torch.autograd.grad(losses.mean(), list(linear.parameters()), retain_graph=True)
        assert all(gradient.abs().max() > 1e-3 for gradient in gradients)
        torch.testing.assert_close(torch.cat([result[name][0] for result in by_rank]), losses.detach())
        for result in by_rank:
            for found, expected in zip(result[name][1], gradients, strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
