"""Learning rates step by step, against closed forms and torch's own schedules."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from honeyguide.training.schedules import make_schedule
from honeyguide.training.settings import TrainingSettings

STEPS, EPOCHS = 20, 10
TOTAL = STEPS * EPOCHS


def make_optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def rates(**settings) -> list[float]:
    """Returns the learning rate of every step."""
    optimizer = make_optimizer()
    schedule = make_schedule(
        optimizer, TrainingSettings(epochs=EPOCHS, learning_rate=0.1, **settings), steps_per_epoch=STEPS
    )
    found = []
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            found.append(optimizer.param_groups[0]["lr"])
            schedule.after_step()
        schedule.after_epoch(1.0)
    return found


def torch_rates(kind, **options) -> list[float]:
    optimizer = make_optimizer()
    scheduler = kind(optimizer, **options)
    found = []
    for _ in range(EPOCHS):
        found += [optimizer.param_groups[0]["lr"]] * STEPS
        optimizer.step()
        scheduler.step()
    return found


def test_none_is_constant():
    assert rates(scheduler="none") == [0.1] * TOTAL


def test_cosine_is_torchs_to_the_last_bit():
    assert rates(scheduler="cosine") == torch_rates(CosineAnnealingLR, T_max=EPOCHS)


def test_steps_are_torchs():
    found = rates(scheduler="steps", scheduler_steps=(3, 7), scheduler_factor=0.3)
    assert found == pytest.approx(torch_rates(MultiStepLR, milestones=[3, 7], gamma=0.3))
    assert len(set(found)) == 3


def test_warmup_cosine_rises_linearly_then_falls_to_zero():
    found = rates(scheduler="warmup_cosine", scheduler_turn=0.25)
    rise = TOTAL // 4
    for step, rate in enumerate(found):
        if step < rise:
            assert rate == pytest.approx(0.1 * (step + 1) / (rise + 1))
        else:
            assert rate == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * (step - rise) / (TOTAL - rise))))
    assert max(found) == found[rise] == pytest.approx(0.1)
    assert rates(scheduler="warmup_cosine").index(pytest.approx(0.1)) == TOTAL // 10


def test_one_cycle_rises_from_a_25th_and_falls_to_nearly_nothing():
    found = rates(scheduler="one_cycle")
    top = 3 * TOTAL // 10
    assert found[0] == pytest.approx(0.1 / 25)
    assert max(found) == found[top] == pytest.approx(0.1)
    for step, rate in enumerate(found):
        if step < top:
            low, share = 0.1 / 25, 1 - step / top
        else:
            low, share = 0.1 / 25 / 1e4 * 1, (step - top) / (TOTAL - top)
        assert rate == pytest.approx(low + (0.1 - low) * math.cos(math.pi * share / 2) ** 2)


def test_flat_decay_is_flat_then_exponential():
    found = rates(scheduler="flat_decay", scheduler_turn=0.5)
    assert found[: TOTAL // 2 + 1] == pytest.approx([0.1] * (TOTAL // 2 + 1))
    ratios = [later / earlier for earlier, later in zip(found[TOTAL // 2 :], found[TOTAL // 2 + 1 :], strict=False)]
    assert ratios == pytest.approx([0.01 ** (2 / TOTAL)] * len(ratios))
    assert found[-1] * ratios[-1] == pytest.approx(0.001)


def test_flat_decay_by_epochs_is_that_of_particle_transformer():
    """Seven flat epochs of ten, then a hundredth in three equal steps: the last epoch has it."""
    found = rates(scheduler="flat_decay_epochs")
    assert found == pytest.approx(torch_rates(MultiStepLR, milestones=[7, 8, 9], gamma=0.01 ** (1 / 3)))
    assert found[-1] == pytest.approx(0.001)
    assert rates(scheduler="flat_decay_epochs", scheduler_turn=0.5)[5 * STEPS :: STEPS] == pytest.approx(
        [0.1 * 0.01 ** (n / 5) for n in range(1, 6)]
    )


def test_linear_goes_from_point_to_point_step_by_step():
    found = rates(scheduler="linear", scheduler_points=((1, 0.1), (4, 1), (7, 0.1), (9, 0)))
    for step, rate in enumerate(found):
        epoch = step / STEPS
        rising, falling = 0.1 + 0.9 * (epoch - 1) / 3, 1 - 0.9 * (epoch - 4) / 3
        expected = max(0.1, min(rising, falling, 1)) if epoch <= 7 else max(0.0, 0.1 * (9 - epoch) / 2)
        assert rate == pytest.approx(0.1 * expected, abs=1e-12)


def test_every_group_keeps_its_factor():
    for settings in (
        {"scheduler": "cosine"},
        {"scheduler": "one_cycle"},
        {"scheduler": "plateau", "scheduler_patience": 0, "epochs": 40},
    ):
        chosen = TrainingSettings(learning_rate=0.1, **settings)
        weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
        optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "lr": 5.0}], lr=0.1)
        schedule = make_schedule(optimizer, chosen, steps_per_epoch=2)
        for _ in range(chosen.epochs):
            assert optimizer.param_groups[1]["lr"] == pytest.approx(50 * optimizer.param_groups[0]["lr"])
            schedule.after_step()
            schedule.after_step()
            schedule.after_epoch(1.0)


def test_plateau_waits_for_its_patience():
    optimizer = make_optimizer()
    settings = TrainingSettings(scheduler_patience=1, scheduler_factor=0.5, learning_rate=0.1)
    schedule = make_schedule(optimizer, settings, steps_per_epoch=1)
    found = []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 2.0):
        schedule.after_epoch(loss)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05])
