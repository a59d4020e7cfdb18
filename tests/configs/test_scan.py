"""What ``--scan`` says: short keys, any YAML value, and every mistake found before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.load import load_experiment
from configs.scan import check_study, point_of, scan_items, scan_points, scan_space, write_config
from honeyguide.errors import ConfigError
from honeyguide.scans.space import Choices, Range
from honeyguide.settings import significant_values


def grid(text: str, overrides: tuple[str, ...] = (), **changes) -> tuple[tuple[str, ...], ...]:
    given = {"method": "grid", "number": 5, "seed": 1} | changes
    return scan_points("quickstart", overrides, scan_items(text), **given)


def test_short_keys_are_those_that_they_can_only_mean():
    points = grid("training.lr=1e-3,1e-4 model.latent=5,15", ("training.epochs=3",))
    assert len(points) == 4
    assert points[1] == ("model.latent_dim=15", "training.epochs=3", "training.learning_rate=1e-3")


def test_values_are_any_yaml():
    items = scan_items(
        "model.terms={l1: 1, l2: 0.1},{l1: 2} model.hidden=[64, 32],[128] training.optimizer='sgd','adam'"
    )
    assert len(items) == 3
    space = scan_space("quickstart", (), items)
    assert space["model.terms"] == Choices(("{l1: 1, l2: 0.1}", "{l1: 2}"))
    points = grid(" ".join(items))
    assert len(points) == 8
    assert load_experiment("quickstart", points[0]).settings.model.hidden == (64, 32)
    assert point_of(space, points[0])["training.optimizer"] == "'sgd'"


def test_ranges():
    space = scan_space("quickstart", (), scan_items("training.lr=log(1e-5, 1e-2) model.latent=int(2,20)"))
    assert space == {
        "training.learning_rate": Range(1e-5, 1e-2, log=True, whole=False),
        "model.latent_dim": Range(2, 20, log=False, whole=True),
    }
    assert check_study("quickstart", (), scan_items("training.lr=log(1e-5,1e-2)"))
    assert len(grid("training.lr=log(1e-5,1e-2)", method="random")) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.learnin_rate=1", r"(?s)no key 'learnin_rate' in training.*nearest: learning_rate"),
        ("training.learn=1", r"(?s)more than one key 'learn'.*allowed: learning_rate, learning_rates"),
        ("roc.scores=[total]", r"no key 'roc': a training depends on these sections"),
        ("training.batch=16,0", r"(?s)greater than 0.*where: --scan training.batch_size=0"),
        ("training.lr=1e-3,0.001", "two points of the scan are the same training"),
        ("training.num_threads=1,2", "two points of the scan are the same training"),
        ("training.lr=1 training.learning_rate=2", "training.learning_rate is scanned twice"),
        ("training.seeds=1,2", r"(?s)can't be scanned.*--set training.seeds=\[1,2,3\]"),
        ("training.lr", "a scan has keys and their values"),
        ("training.lr=[1", "not YAML"),
        ("training.epochs=int(9,2)", "no range"),
        ("training.lr=log(0,1)", "no range"),
        ("", "nothing to scan"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ConfigError, match=message):
        grid(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preprocess.num_jets=int(1,2)", "what they read is made before it begins"),
        ("model.latent_dim=int(-1,2)", "greater than 0"),
        ("training.optimizer=adamw,nadam", "(?s)nadam"),
    ],
)
def test_mistakes_of_studies(text, message):
    with pytest.raises(ConfigError, match=message):
        check_study("quickstart", (), scan_items(text))


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.latent_dim=5", "training.learning_rate=1e-05", "training.learning_rates={encoder: 2.0}"),
        ("dataset.reader.debug=true", "model.latent_dim=5"),
        ("training.annealing={kl: {shape: linear, end: 2.0}}",),
        ("model.family=tagger", "model.preset=DeepJetHLT"),
    ],
)
def test_the_written_config_is_the_experiment_with_its_overrides(tmp_path, overrides):
    base = tmp_path / "mine.yaml"
    annealing = "training: {annealing: {reconstruction: {shape: linear, end: 3.0}}}\n"
    base.write_text(f"extends: quickstart\nmodel: {{posterior: gaussian, terms: {{kl: 0.1}}}}\n{annealing}")
    path = tmp_path / "best" / "mine.yaml"
    path.parent.mkdir()
    write_config(path, str(base), overrides)
    given = tuple(item for item in overrides if item.startswith("dataset."))
    assert (given == ()) == ("--set" not in path.read_text())
    found, wanted = load_experiment(str(path), given), load_experiment(str(base), overrides)
    assert json.dumps(significant_values(found.settings)) == json.dumps(significant_values(wanted.settings))
    assert (found.name, found.dataset_name) == (wanted.name, wanted.dataset_name)


def test_the_written_config_names_what_it_extends(tmp_path: Path):
    write_config(tmp_path / "quickstart.yaml", "quickstart", ("model.latent_dim=5",))
    assert "extends: quickstart\nmodel:\n  latent_dim: 5\n" in (tmp_path / "quickstart.yaml").read_text()
