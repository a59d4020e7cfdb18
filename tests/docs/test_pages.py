"""Links resolve, settings exist, the page of settings is that of the code, and the snippets do what they say."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from configs.load import load_experiment
from configs.schema import ExperimentSettings
from honeyguide.evaluation.run import evaluate
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import ScoresWriter
from tests.docs.pages import PAGES, ROOT, blocks, text_of
from tests.planted import make_spec

SECTIONS = [name for name in ExperimentSettings.model_fields if name not in ("schema_version", "description")]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """The anchors that code hosts make of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@by_page
def test_links_resolve(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@by_page
def test_no_page_has_paths_of_one_machine(page):
    assert not re.findall(r"(?<![\w$.}\"*])/(?:tmp|home|work|root|mnt)\b", page.read_text())


def without_outputs(text: str) -> str:
    """The text without blocks that have no language: what a terminal shows, wrong keys in errors among it."""
    return re.sub(r"(?ms)^```(\w*)\n.*?^```$", lambda found: found[0] if found[1] else "", text)


def exists(key: str) -> bool:
    """Whether a key such as ``training.epochs`` is in the settings; any name stands for a sample's."""
    classes = [models.config_class(family) for family in models.REGISTRY]
    section, *parts = key.split(".")
    level = classes if section == "model" else [ExperimentSettings.model_fields[section].annotation]
    for part in parts:
        found = [cls.model_fields[part].annotation for cls in level if part in getattr(cls, "model_fields", {})]
        if not found and not any(hasattr(cls, "__args__") for cls in level):
            return False
        level = found or [argument for cls in level for argument in cls.__args__]
    return True


@by_page
def test_settings_that_a_page_names_exist(page):
    keys = re.findall(rf"(?<![\w./$])((?:{'|'.join(SECTIONS)})(?:\.[a-z]\w*)+)", without_outputs(page.read_text()))
    keys = [
        key
        for key in keys
        if not key.endswith((".py", ".h5", ".json", ".csv", ".yaml", ".md", ".onnx")) and key != "models.linear"
    ]
    assert [key for key in keys if not exists(key)] == []


def test_a_wrong_key_is_found():
    assert exists("training.epochs")
    assert exists("model.terms.kl")
    assert exists("dataset.samples.qcd.generate.seed")
    assert not exists("training.epoch")
    assert not exists("model.latent")
    assert not exists("histograms.bins")


def test_page_of_settings_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert text_of("docs/settings.md") == module.page().rstrip() + "\n", "run: python docs/make_settings.py"


def test_first_screen_of_the_readme():
    top = text_of("README.md")[:1200]
    assert "source setup.sh && law run ROCCurveTask --config quickstart\n" in top
    assert "source setup.sh && pytest -n 2\n" in top
    assert "docs/figures/quickstart_roc.png" in top
    assert all(figure.stat().st_size <= 200_000 for figure in (ROOT / "docs" / "figures").iterdir())


def test_checks_are_those_of_ci():
    ci = text_of(".ci/run")
    for command in ("ruff check .", "ruff format --check .", "mypy", "lint-imports --no-logo", "pytest -n 2"):
        for text in (ci, text_of("README.md"), text_of("CONTRIBUTING.md")):
            assert re.search(rf"(?m)(^|&& |=\d ){re.escape(command)}\s", text), command


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_files_of_a_study_load_and_find_their_samples(name, study, monkeypatch):
    from tasks.dataset import DatasetConstructorTask

    data = study / "data"
    for sample in ("herwig", "pythia", "svj"):
        (data / sample).mkdir(parents=True)
        (data / sample / "a.csv").write_text(f"1,{len(sample)},0.1,0\n")
    monkeypatch.setenv("HONEYGUIDE_DATA", str(data))
    monkeypatch.setenv("HONEYGUIDE_STORE", str(study / "store"))
    experiments = [b.file for b in blocks(text_of(name)) if b.file.endswith(".yaml") and "dataset:" in b.text]
    assert experiments
    for file in experiments:
        assert load_experiment(file).dataset_name == "my_events"
        sources = DatasetConstructorTask(config=file).sources()
        found = {sample: [source.path.parent.name for source in files] for sample, files in sources.items()}
        assert found == {"qcd_herwig": ["herwig"], "qcd_pythia": ["pythia"], "svj_3000_rinv03": ["svj"]}


def write_scores(folder: Path, *, signal: bool) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(int(signal))
    truth = {
        "event_id": np.arange(200) + 1000 * signal,
        "weight": np.ones(200),
        "label": np.full(200, signal),
        "process": np.full(200, int(signal)),
        "generator": np.zeros(200),
        "signal_point": np.full(200, 0 if signal else -1),
    }
    with ScoresWriter(folder, num_events=200, score_names=["total"], latent_dim=2, spec=make_spec()) as writer:
        writer.append(truth, {"total": rng.normal(signal, 1, 200)}, rng.normal(size=(200, 2)))
    return folder / "scores.h5"


def test_snippets_read_scores_and_curves(tmp_path, monkeypatch, capsys):
    files = {"qcd": write_scores(tmp_path / "qcd", signal=False), "svj": write_scores(tmp_path / "svj", signal=True)}
    (tmp_path / "roc").mkdir()
    evaluate({"mine": {1: files}}, tmp_path / "roc", settings=RocSettings())
    snippets = {block.file: block.text for block in blocks(text_of("docs/tutorial.md")) if block.language == "python"}
    assert set(snippets) == {"read_scores.py", "read_roc.py"}
    for name, folder, shown in (("read_scores.py", "svj", "(200,) (200, 2)"), ("read_roc.py", "roc", "mine 1 total")):
        (tmp_path / name).write_text(snippets[name])
        monkeypatch.setattr(sys, "argv", [name, str(tmp_path / folder)])
        runpy.run_path(str(tmp_path / name))
        assert capsys.readouterr().out.startswith(shown)
