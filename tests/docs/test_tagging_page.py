"""What the page about taggers says runs: its experiment loads, its snippet gives the efficiencies that it should."""

from __future__ import annotations

import re
import runpy
import sys

import numpy as np
import pytest

from configs.load import load_experiment
from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.evaluation.discriminators import discriminators
from honeyguide.evaluation.tagged_jets import read_tagged_jets
from honeyguide.evaluation.tagging_points_run import evaluate_working_points
from honeyguide.evaluation.tagging_settings import READY_DISCRIMINATORS, TaggingSettings
from tests.docs.pages import blocks, text_of
from tests.planted_tagger import CLASSES, write_tagger_scores

PAGE = text_of("docs/tagging-evaluation.md")
BLOCKS = {block.file: block.text for block in blocks(PAGE) if block.file}


def test_the_experiment_of_the_page_has_all_that_it_names(tmp_path):
    (tmp_path / "my_tagger.yaml").write_text(BLOCKS["my_tagger.yaml"])
    experiment = load_experiment(str(tmp_path / "my_tagger.yaml")).settings
    settings, truths = experiment.tagging, experiment.dataset.reader.root.truths.names
    classes = experiment.model.model_dump()["classes"] or {truth: (truth,) for truth in truths}
    found = discriminators(settings, tuple(classes), truths, classes)
    assert list(found) == ["BvsL", "CvsL", "CvsB", "QvsG", "BvsUDS"]
    background = {truths[code] for code in found["BvsUDS"].background}
    assert background == set(classes["uds"])
    assert {truths[code] for code in found["BvsL"].signal} == set(classes["b"])
    processes = {sample.process for sample in experiment.dataset.samples.values()}
    assert {window.process for window in settings.windows.values()} - {None} <= processes


def test_the_table_of_discriminators_is_that_of_the_code():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (\S+) / (.+?) \| (\w+) \| ([\w ]+) \|$", PAGE)
    assert {row[0] for row in rows} == set(READY_DISCRIMINATORS)
    for name, above, below, signal, _ in rows:
        definition = READY_DISCRIMINATORS[name]
        assert (above, signal) == (definition.numerator[0], definition.numerator[0])
        assert set(below.strip("()").split(" + ")) == set(definition.denominator)


def test_the_snippet_prints_the_efficiencies_of_the_jets(tmp_path, monkeypatch, capsys):
    files = {"tt": write_tagger_scores(tmp_path / "tt", sizes={"b": 4000, "c": 2000, "light": 4000}, seed=1)}
    settings = TaggingSettings(bins=JetBinning(pt=(20, 50, 100, 500), eta=(0, 1, 2.5)), plane_points={})
    evaluate_working_points({1: files}, tmp_path, settings=settings, name="net")
    (tmp_path / "use_working_points.py").write_text(BLOCKS["use_working_points.py"])
    monkeypatch.setattr(sys, "argv", ["use_working_points.py", str(tmp_path / "corrections_seed1.json")])
    runpy.run_path(str(tmp_path / "use_working_points.py"))
    shown = dict(re.findall(r"(\w+): (0\.\d+) \+", capsys.readouterr().out))
    tagged = read_tagged_jets(files, weighted=True)
    p = dict(zip(CLASSES, tagged.probabilities.T, strict=True))
    value, truth = p["b"] / (p["b"] + p["light"]), np.array(tagged.jets.truths)[tagged.jets.truth]
    cell = (tagged.jets.pt >= 50) & (tagged.jets.pt < 100) & (np.abs(tagged.jets.eta) < 1)
    threshold = np.sort(value[truth == "light"])[-400]
    for flavour in ("b", "light"):
        assert float(shown[flavour]) == pytest.approx(np.mean(value[cell & (truth == flavour)] >= threshold), abs=1e-4)
