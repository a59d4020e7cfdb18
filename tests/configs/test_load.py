"""Configs: every mistake is one readable error with file, key and nearest; overrides and inheritance act."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Literal

import pytest

import models
from configs.load import CONFIG_FOLDER, find_config, load_experiment, parse_overrides
from honeyguide.errors import ConfigError
from honeyguide.settings import Settings

DATASET = "samples: {qcd: {process: qcd, generator: g, files: [a.csv]}}\n"


def write(folder: Path, experiment: str, dataset: str = DATASET) -> str:
    load_experiment.cache_clear()
    (folder / "data.yaml").write_text(dataset)
    (folder / "exp.yaml").write_text(experiment)
    return str(folder / "exp.yaml")


def error_of(folder: Path, experiment: str, dataset: str = DATASET, overrides: tuple[str, ...] = ()) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_experiment(write(folder, experiment, dataset), overrides)
    return caught.value


GOOD = "dataset: data.yaml\nmodel: {family: vae}\n"


@pytest.mark.parametrize("path", sorted((CONFIG_FOLDER / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_experiment_loads(path: Path) -> None:
    assert load_experiment(path.stem).name == path.stem


@pytest.mark.parametrize("path", sorted((CONFIG_FOLDER / "datasets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_dataset_loads(tmp_path: Path, path: Path) -> None:
    (tmp_path / "exp.yaml").write_text(f"dataset: {path.stem}\nmodel: {{family: vae}}\n")
    assert load_experiment(str(tmp_path / "exp.yaml")).dataset_name == path.stem


def test_unknown_key_names_file_section_and_nearest(tmp_path: Path) -> None:
    error = error_of(tmp_path, GOOD + "training: {epohcs: 3}\n")
    assert "exp.yaml" in str(error)
    assert "training.epohcs" in str(error)
    assert error.details["nearest"] == "epochs"


def test_unknown_key_of_a_model_family_names_the_nearest(tmp_path: Path) -> None:
    error = error_of(tmp_path, "dataset: data.yaml\nmodel: {family: vae, latent_dm: 3}\n")
    assert "model.latent_dm" in str(error)
    assert error.details["nearest"] == "latent_dim"


def test_unknown_key_in_the_dataset_names_the_dataset_file(tmp_path: Path) -> None:
    error = error_of(tmp_path, GOOD, DATASET + "raeder: {}\n")
    assert "data.yaml" in str(error)
    assert error.details["nearest"] == "reader"


def test_unknown_key_deep_in_a_sample_names_the_nearest(tmp_path: Path) -> None:
    error = error_of(tmp_path, GOOD, "samples: {qcd: {process: qcd, generatr: g, files: [a.csv]}}\n")
    assert "samples.qcd.generatr" in str(error)
    assert "nearest: generator" in str(error)  # besides the missing 'generator', which is a problem of its own


def test_unknown_model_family_names_the_nearest(tmp_path: Path) -> None:
    error = error_of(tmp_path, "dataset: data.yaml\nmodel: {family: vea}\n")
    assert error.details["nearest"] == "vae"


@pytest.mark.parametrize("value", ['"5"', "five", "2.5", "[1]", "null"])
def test_wrong_type_is_an_error(tmp_path: Path, value: str) -> None:
    error = error_of(tmp_path, GOOD + f"training: {{epochs: {value}}}\n")
    assert "training.epochs" in str(error)
    assert error.details["got"] is not None


def test_several_mistakes_are_all_named(tmp_path: Path) -> None:
    text = str(error_of(tmp_path, GOOD + "training: {epochs: 0, batch_size: many}\nroc: {x: 1}\n"))
    assert all(key in text for key in ("training.epochs", "training.batch_size", "roc.x"))


def test_sample_with_files_and_simulation_is_an_error(tmp_path: Path) -> None:
    both = "samples: {q: {process: q, generator: g, files: [a], generate: {process: qcd_dijets}}}\n"
    assert "either 'files' or 'match' or 'generate'" in str(error_of(tmp_path, GOOD, both))


def test_signal_without_a_point_is_an_error(tmp_path: Path) -> None:
    signal = DATASET.rstrip()[:-1] + ", s: {process: s, generator: g, label: signal, files: [b.csv]}}\n"
    assert "signal_point" in str(error_of(tmp_path, GOOD, signal))


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    only_test = "samples: {qcd: {process: qcd, generator: g, split: test, files: [a.csv]}}\n"
    assert "no sample to train on" in str(error_of(tmp_path, GOOD, only_test))


def test_key_given_twice_is_an_error(tmp_path: Path) -> None:
    assert "'epochs' is given twice" in str(error_of(tmp_path, GOOD + "training: {epochs: 1, epochs: 2}\n"))


def test_file_that_is_no_yaml_is_an_error(tmp_path: Path) -> None:
    assert "exp.yaml" in str(error_of(tmp_path, "training: {"))


def test_unknown_config_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError) as caught:
        find_config("quikstart", "experiments")
    assert caught.value.details["nearest"] == "quickstart"


def test_override_reaches_the_settings_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    config = write(tmp_path, GOOD)
    assert load_experiment(config, ("training.epochs=7",)).settings.training.epochs == 7
    error = error_of(tmp_path, GOOD, overrides=("training.epoch=7",))
    assert "--set training.epoch=7" in str(error)
    assert error.details["nearest"] == "epochs"


def test_mistake_inside_of_an_override_names_the_override(tmp_path: Path) -> None:
    override = "preprocess.features=[{name: pt, scaler: standrd}]"
    error = error_of(tmp_path, GOOD, overrides=(override,))
    assert error.details["where"] == f"--set {override}"
    assert "nearest: standard" in error.what


def test_override_of_an_unknown_sample_names_the_nearest(tmp_path: Path) -> None:
    name = next(iter(load_experiment(write(tmp_path, GOOD)).settings.dataset.samples))
    override = f"dataset.samples.{name}x.process=other"
    error = error_of(tmp_path, GOOD, overrides=(override,))
    assert f"--set {override}" in str(error)
    assert f"nearest: {name}" in str(error)


def test_file_given_without_its_suffix_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"exp\.yaml"):
        load_experiment("exp")


def test_number_with_exponent_is_a_number(tmp_path: Path) -> None:
    config = write(tmp_path, GOOD + "training: {learning_rate: 3e-4}\n")
    assert load_experiment(config).settings.training.learning_rate == 3e-4
    assert load_experiment(config, ("training.learning_rate=2e-5",)).settings.training.learning_rate == 2e-5


def test_extends_inherits_and_a_circle_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "training: {epochs: 3, batch_size: 17}\n")
    (tmp_path / "child.yaml").write_text("extends: exp.yaml\ntraining: {epochs: 4}\n")
    training = load_experiment(str(tmp_path / "child.yaml")).settings.training
    assert (training.epochs, training.batch_size) == (4, 17)
    (tmp_path / "exp.yaml").write_text("extends: child.yaml\n")
    load_experiment.cache_clear()
    with pytest.raises(ConfigError, match="comes back"):
        load_experiment(str(tmp_path / "child.yaml"))


class OtherConfig(Settings):
    """Settings of a family that shares no key with the real ones."""

    family: Literal["other"]
    size: int = 1


def test_another_model_family_takes_over_no_keys_of_the_one_before(tmp_path: Path, monkeypatch) -> None:
    """So ``--model-name`` and ``extends`` work between families, whatever keys each has."""
    module = types.ModuleType("other_family.config")
    module.CONFIG = OtherConfig
    monkeypatch.setitem(sys.modules, "other_family", types.ModuleType("other_family"))
    monkeypatch.setitem(sys.modules, "other_family.config", module)
    monkeypatch.setitem(models.REGISTRY, "other", "other_family")
    base = write(tmp_path, "dataset: data.yaml\nmodel: {family: vae, latent_dim: 7, posterior: none}\n")
    assert load_experiment(base, ("model.family=other",)).settings.model == OtherConfig(family="other")
    changed = load_experiment(base, ("model.family=other", "model.size=2"))
    assert changed.settings.model == OtherConfig(family="other", size=2)
    same = load_experiment(base, ("model.family=vae", "model.hidden=[8]")).settings.model
    assert (same.latent_dim, same.hidden) == (7, (8,))
    (tmp_path / "own.yaml").write_text("extends: exp.yaml\nmodel: {family: other}\n")
    assert load_experiment(str(tmp_path / "own.yaml")).settings.model == OtherConfig(family="other")
    load_experiment.cache_clear()
    (tmp_path / "own.yaml").write_text("extends: exp.yaml\nmodel: {family: vae, hidden: [8]}\n")
    assert load_experiment(str(tmp_path / "own.yaml")).settings.model == same


def test_the_name_of_a_preset_stands_for_its_family(tmp_path: Path) -> None:
    """``--model-name DeepJetHLT`` changes the network and keeps the classes; another family starts anew."""
    text = "dataset: data.yaml\nmodel: {family: tagger, preset: MLP, classes: {b: [b], other: [c, g]}, dropout: 0.2}\n"
    base = write(tmp_path, text)
    named = load_experiment(base, ("model.family=DeepJetHLT",)).settings.model
    assert named == load_experiment(base, ("model.preset=DeepJetHLT",)).settings.model
    assert (named.network, list(named.classes), named.dropout) == ("deepjet", ["b", "other"], 0.2)
    other = load_experiment(base, ("model.family=ConvVAE", "model.latent_dim=4")).settings.model
    assert (other.family, other.preset, other.latent_dim) == ("vae", "ConvVAE", 4)
    (tmp_path / "own.yaml").write_text("extends: exp.yaml\nmodel: {family: DeepJetHLT}\n")
    assert load_experiment(str(tmp_path / "own.yaml")).settings.model == named
    with pytest.raises(ConfigError, match="another one is given"):
        load_experiment(base, ("model.family=DeepJetHLT", "model.preset=MLP"))
    with pytest.raises(ConfigError) as caught:
        load_experiment(base, ("model.family=DeepJetHTL",))
    assert caught.value.details["nearest"] == "DeepJetHLT"


def test_dataset_of_a_base_in_another_folder_is_found_beside_the_base(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "child.yaml").write_text("extends: ../exp.yaml\n")
    experiment = load_experiment(str(tmp_path / "sub" / "child.yaml"))
    assert experiment.dataset_folder == tmp_path


def test_settings_are_frozen() -> None:
    settings = load_experiment("quickstart").settings
    with pytest.raises(ValueError, match="frozen"):
        settings.training.epochs = 3


def test_overrides_are_split_outside_of_brackets_and_sorted() -> None:
    assert parse_overrides("b.x=[1,2], a.y={c: 1, d: 2},a.z=3") == ("a.y={c: 1, d: 2}", "a.z=3", "b.x=[1,2]")
    assert parse_overrides("") == ()


@pytest.mark.parametrize("text", ["epochs=3", "training.epochs", "=3", "training.epochs:3"])
def test_malformed_override_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_overrides(text)


def test_override_given_twice_with_two_values_is_an_error() -> None:
    with pytest.raises(ConfigError, match="set twice"):
        parse_overrides("a.b=1,a.b=2")
