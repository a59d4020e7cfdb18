"""The enrichment study through ``law run``: every variant with every seed, in one command."""

from __future__ import annotations

import csv
import json

from tests.law_command import Law

STUDY = """
extends: small
training: {seeds: [1, 2], epochs: 2}
inference: {root: false}
roc: {scores: [total]}
enrichment:
  variants:
    plain mixing: {}
    "invariance: MMD": {model.terms.mmd: 10}
"""


def test_one_command_trains_every_variant_and_compares_them(generated: Law) -> None:
    (generated.folder / "study.yaml").write_text(STUDY.replace("small", str(generated.folder / "small.yaml")))
    command = ("workflows.enrichment.EnrichmentStudyTask", "--config", str(generated.folder / "study.yaml"))
    outcome = generated(*command, fresh=True)
    assert outcome.returncode == 0, outcome.text
    (folder,) = (generated.store / "EnrichmentStudyTask").glob("*/*/*")
    with (folder / "enrichment.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["variant"], row["num_seeds"]) for row in rows} == {("plain mixing", "2"), ("invariance: MMD", "2")}
    assert {row["quantity"] for row in rows} == {"generator AUC", "reconstruction", "AUC"}
    assert "| plain mixing |" in outcome.text
    # what was trained is what was asked for
    models = (generated.store / "TrainingTask" / "study").glob("*/*/model.json")
    weights = [json.loads(path.read_text())["config"]["terms"].get("mmd", 0) for path in models]
    assert sorted(weights) == [0, 0, 10, 10]
    assert "Did not run any tasks" in generated(*command).text
