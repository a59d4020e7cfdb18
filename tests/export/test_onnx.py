"""Exported taggers give in onnxruntime what the trained ones give in torch, and what does not is found."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import models
from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import list_inputs
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.errors import ModelError
from honeyguide.export import parity
from honeyguide.export.graph import PROBABILITIES, OnnxLSTM, input_tensors, outputs_of
from honeyguide.export.onnx import export_tagger
from honeyguide.export.parity import Session, check_parity
from honeyguide.nn.model import Model
from honeyguide.training.weights import load_model, save_weights, write_description
from tests.export import exporting
from tests.export.exporting import NETWORKS, SETTINGS
from tests.forked import run_script
from tests.planted import make_spec

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Exported:
    """An exported tagger, the trained one, and rows to compare them on."""

    folder: Path
    model: Model
    rows: Batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported")
    done = run_script(Path(exporting.__file__), path, folder=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return path


@pytest.fixture(params=NETWORKS)
def exported(request: pytest.FixtureRequest, folder: Path) -> Exported:
    model = load_model(folder / request.param / "training", functools.partial(exporting.build, request.param))
    rows = as_batch(read_some_rows(list_inputs(folder / "inputs", "test"), SETTINGS.parity_rows))
    return Exported(folder / request.param, model, rows)


def test_all_comparisons_are_made_and_within_rounding(exported: Exported) -> None:
    written = json.loads((exported.folder / "parity.json").read_text())
    assert written["largest"] < SETTINGS.tolerance
    slots = {case["name"]: (case["rows"], case["batch_size"], case["slots"]["cpf"]) for case in written["cases"]}
    few = int(exported.rows.sets["cpf"].mask[:5].sum(1).max())
    assert slots == {
        "all slots": (70, 70, 6),
        "no more slots than needed": (70, 70, 6),
        "one row at a time": (5, 1, few),
        "few objects": (70, 70, 3),
        "one object": (70, 70, 1),
        "no object": (70, 70, 1),
        "one row without objects": (1, 1, 1),
    }


def test_any_number_of_rows_and_slots_is_one_file(exported: Exported) -> None:
    """Not through the code that compares: with the numbers of rows and slots that nobody has tried."""
    session = Session(exported.folder / "model.onnx")
    with torch.inference_mode():
        expected = exported.model.score(exported.rows)
    tensors = input_tensors(exported.rows, exported.model.spec)
    for count in (2, 4, 5):
        fit = exported.rows.sets["cpf"].mask.sum(1) <= count
        cut = {name: value[fit] if name == "row_features" else value[fit, :count] for name, value in tensors.items()}
        got = session(cut, 11)["probabilities"]
        assert len(got) == int(fit.sum())
        for column, name in enumerate(exported.model.classes):
            np.testing.assert_allclose(got[:, column], expected[f"prob_{name}"][fit].numpy(), atol=1e-5)


def test_a_broken_weight_is_found_and_named(exported: Exported, tmp_path: Path) -> None:
    name, weight = next((name, w) for name, w in exported.model.named_parameters() if name.endswith("weight"))
    with torch.no_grad():
        weight.view(-1)[0] += 0.5
    with pytest.raises(ModelError, match=r"all slots: probabilities of the row \d+, slots(.|\n)*export.tolerance"):
        check_parity(
            exported.model, exported.rows, tmp_path, settings=SETTINGS, model_file=exported.folder / "model.onnx"
        )
    assert json.loads((tmp_path / "parity.json").read_text())["largest"] > SETTINGS.tolerance, name


def test_rows_that_rounding_decides_may_differ_by_as_much_and_others_not(folder: Path) -> None:
    build = functools.partial(exporting.build, "particle_transformer")
    model = load_model(folder / "particle_transformer" / "training", build)
    rows = as_batch(read_some_rows(list_inputs(folder / "inputs", "test"), 40))
    item = rows.sets["cpf"]
    vectors = item.vectors.clone()
    vectors[:20, 1] = 2 * vectors[:20, 0]  # in the same direction: their distance is nothing but rounding
    rows = replace(rows, sets={"cpf": replace(item, vectors=vectors.masked_fill(~item.mask[..., None], 0))})
    own = parity._own_rounding(model, rows)
    row = int(own.argmax())
    assert row < 20
    assert own[row] > 100 * own[20:].max()
    with torch.inference_mode():
        expected = {name: value.numpy() for name, value in outputs_of(model, rows).items()}
    allowed = {name: value.copy() for name, value in expected.items()}
    allowed[PROBABILITIES][row, 0] += 5 * own[row]
    found = parity._Difference(model, rows, expected, allowed, own[row])
    assert (found.rounded.sum(), found.bad.sum(), found.worst) == (1, 0, row)
    allowed[PROBABILITIES][30, 0] += 5 * own[row]
    found = parity._Difference(model, rows, expected, allowed, own[row])
    assert (found.rounded.sum(), found.bad.sum(), found.worst) == (1, 1, 30)


def test_what_is_allowed_for_its_rounding_is_said() -> None:
    case = parity.Case("all slots", 9, 9, {}, {PROBABILITIES: 0.02}, worst_row=1, rounded_rows=2, too_large=False)
    plain = "largest difference to the trained model: 0.02"
    more = "2 rows differ by more than 0.0001, as rounding of their inputs moves them"
    assert parity.Parity(1e-4, (case, replace(case, rounded_rows=1))).line() == f"{plain}; {more}"
    assert parity.Parity(1e-4, (replace(case, rounded_rows=0),)).line() == plain


def test_outputs_that_are_no_number_are_found(exported: Exported, tmp_path: Path) -> None:
    rows = replace(exported.rows, event=exported.rows.event * torch.nan)
    with pytest.raises(ModelError, match="a difference of nan"):
        check_parity(exported.model, rows, tmp_path, settings=SETTINGS, model_file=exported.folder / "model.onnx")


def test_the_file_says_what_it_needs_and_nothing_of_where_it_was_made(exported: Exported) -> None:
    model = onnx.load(exported.folder / "model.onnx")
    described = json.loads((exported.folder / "inputs.json").read_text())
    assert {item.key: json.loads(item.value) for item in model.metadata_props} == described
    assert described["digest"] == "abc"
    assert described["classes"] == ["b", "c", "light"]
    assert [column["name"] for column in described["inputs"][1]["columns"]] == ["x0", "x1", "x2"]
    assert described["scalers"]["sets"]["cpf"][0]["feature"] == "x0"
    assert described["parameters"] == sum(weight.numel() for weight in exported.model.parameters())
    for item, tensor in zip(described["inputs"], model.graph.input, strict=True):
        assert item["name"] == tensor.name
        shape = [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        assert shape == item["shape"]
    first, *others = described["outputs"]
    assert first == {"name": "probabilities", "shape": ["batch", 3]}
    assert others == [{"name": n, "shape": ["batch"], "scaling": "targets/x0"} for n in exported.model.predictions]
    assert described["scalers"]["targets"][0]["feature"] == "x0"
    assert str(ROOT).encode() not in (exported.folder / "model.onnx").read_bytes()


def test_recurrent_layer_in_onnx_order_is_the_layer() -> None:
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    values = torch.randn(5, 7, 3)
    torch.testing.assert_close(OnnxLSTM(lstm)(values)[0], lstm(values)[0])


def test_what_has_no_classes_is_not_exported(tmp_path: Path) -> None:
    build = functools.partial(models.build, models.parse({"family": "vae", "hidden": [4], "latent_dim": 2}))
    model = build(make_spec())
    save_weights(model.state_dict(), tmp_path / "best.safetensors")
    write_description(model, tmp_path)
    with pytest.raises(ModelError, match="no classes"):
        export_tagger(tmp_path, tmp_path, tmp_path, build_model=build, settings=SETTINGS, about={})


def test_the_snippet_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "export-and-explain.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder)
    (folder / "exported").symlink_to(folder / "deepjet")
    found: dict[str, Any] = {}
    exec(compile(snippet, "export-and-explain.md", "exec"), found)
    assert found["probabilities"].shape == (4, 3)
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, rtol=1e-6)
    assert set(found["best"]) <= {"b", "c", "light"}
