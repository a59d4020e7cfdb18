"""The experiments in docs/training.md load, and have the published values that the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import load_experiment
from honeyguide.training.schedules import factor_of
from honeyguide.training.settings import TrainingSettings
from tests.docs.pages import blocks, text_of

EXPERIMENTS = {block.file: block.text for block in blocks(text_of("docs/training.md")) if block.file.endswith(".yaml")}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    names = {Path(name).stem for name in EXPERIMENTS}
    for name, text in EXPERIMENTS.items():
        base = text.split("extends: ")[1].split("\n")[0]
        own = text.replace(f"extends: {base}", f"extends: {base}.yaml") if base in names else text
        (tmp_path / name).write_text(own)
    return tmp_path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_of_the_page_loads(name, written):
    load_experiment(str(written / name))


def training(written: Path, name: str) -> TrainingSettings:
    return load_experiment(str(written / name)).settings.training


def test_rates_are_the_published_ones(written):
    top = training(written, "part_top.yaml")
    assert (top.optimizer, top.slow_steps, top.weight_decay, top.weight_decay_of) == ("ranger", 6, 0.01, "matrices")
    flat = [top.learning_rate * factor_of(top, steps_per_epoch=100)(100 * epoch) for epoch in range(20)]
    assert flat[:14] == [1e-3] * 14
    assert flat[-1] == pytest.approx(1e-5)
    particlenet = training(written, "particlenet_top.yaml")
    rate = factor_of(particlenet, steps_per_epoch=100)
    found = {epoch: particlenet.learning_rate * rate(100 * epoch) for epoch in (0, 4, 8, 16, 20)}
    assert found == pytest.approx({0: 3e-4, 4: 1.65e-3, 8: 3e-3, 16: 3e-4, 20: 5e-7}, rel=1e-3)


def test_fine_tuning_is_the_published_one(written):
    tuned = training(written, "part_tuned.yaml")
    assert (tuned.learning_rate, tuned.learning_rates, tuned.scheduler) == (1e-4, {"to_logits": 50.0}, "none")
    assert tuned.start is not None
    assert tuned.start.exclude == ("to_logits",)
    assert (tuned.weight_decay, tuned.epochs, tuned.batch_size) == (0.01, 20, 512)
