"""The attention that is shown is the model's, in the order of the objects' pt, and means are means."""

from __future__ import annotations

import functools
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from honeyguide.data.model_inputs import list_inputs
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.errors import DataError, ModelError
from honeyguide.evaluation.attention import JetAttention, attention_of, look_at_attention, mean_attention
from honeyguide.evaluation.attention_settings import AttentionSettings
from honeyguide.nn.model import Model
from honeyguide.training.weights import save_weights, write_description
from tests.export import exporting

SETTINGS = AttentionSettings(mean_jets=60, objects=4, batch_size=16, device="cpu", num_threads=1)


def saved(name: str, folder: Path) -> Model:
    torch.manual_seed(5)
    model = exporting.build(name, exporting.one_set())
    save_weights(model.state_dict(), folder / "best.safetensors")
    write_description(model, folder)
    return model.eval()


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    folder = tmp_path_factory.mktemp("attention")
    exporting.write_inputs(folder / "inputs")
    model = saved("particle_transformer", folder)
    (folder / "out").mkdir()
    build = functools.partial(exporting.build, "particle_transformer")
    settings = SETTINGS.model_copy(update={"event_ids": (1003,)})
    look_at_attention(folder, folder / "inputs", folder / "out", build_model=build, settings=settings)
    return folder, model


def test_weights_are_those_of_the_model_by_falling_pt(looked: tuple[Path, Model]) -> None:
    folder, model = looked
    rows = read_some_rows(list_inputs(folder / "inputs", "test"), 60, seed=1)
    batch = as_batch(rows)
    with torch.inference_mode():
        seen = model.inspect(batch)
    jets = list(attention_of(model, rows, batch_size=16))
    assert [jet.event_id for jet in jets] == rows.event_id.tolist()
    for number, jet in enumerate(jets):
        vectors = rows.sets["cpf"].vectors[number]
        pt = np.hypot(vectors[:, 0], vectors[:, 1])
        slots = np.argsort(-pt)[: len(jet.pt)]
        assert len(jet.pt) == rows.sets["cpf"].mask[number].sum()
        assert (np.diff(jet.pt) <= 0).all()
        np.testing.assert_allclose(jet.pt, pt[slots], rtol=1e-6)
        expected = seen["attention/0"][number].numpy()[:, slots][:, :, slots]
        np.testing.assert_allclose(jet.attention[0], expected, atol=1e-6)
        expected = seen["class_attention/0"][number].numpy()[:, [0, *(1 + slots)]]
        np.testing.assert_allclose(jet.class_attention[0], expected, atol=1e-6)
        if len(jet.pt):
            np.testing.assert_allclose(jet.attention.sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(jet.class_attention.sum(-1), 1, atol=1e-5)


def test_angles_are_from_the_axis_of_all_objects(looked: tuple[Path, Model]) -> None:
    folder, model = looked
    for jet in attention_of(model, read_some_rows(list_inputs(folder / "inputs", "test"), 60), batch_size=60):
        if len(jet.pt) == 1:
            np.testing.assert_allclose([jet.deta, jet.dphi], 0, atol=1e-5)
        assert (np.abs(jet.dphi) <= np.pi + 1e-6).all()
        # the momenta transverse to the axis add up to nothing
        if len(jet.pt):
            assert abs(np.sum(jet.pt * np.sin(jet.dphi))) < 1e-4 * jet.pt.sum()


def test_means_are_over_the_jets_that_have_both_objects() -> None:
    rng, jets = np.random.default_rng(1), []
    for number, size in enumerate((3, 2, 5)):
        maps, lines = (rng.random((2, 3, size, size), np.float32), rng.random((1, 3, size + 1), np.float32))
        jets.append(JetAttention(number, "a", maps, lines, *(np.ones(size, np.float32),) * 3))
    other = JetAttention(9, "b", jets[0].attention, jets[0].class_attention, *(np.ones(3, np.float32),) * 3)
    mean, of_other = mean_attention([*jets, other], 6)
    assert (mean.truth, mean.num_jets, of_other.truth, of_other.num_jets) == ("a", 3, "b", 1)
    each = [jet.attention[1, 2] for jet in jets]
    assert mean.attention[1, 2, 1, 0] == pytest.approx(np.mean([one[1, 0] for one in each]))
    assert mean.attention[1, 2, 2, 1] == pytest.approx((each[0][2, 1] + each[2][2, 1]) / 2)
    assert mean.attention[1, 2, 4, 4] == pytest.approx(each[2][4, 4])
    assert np.isnan(mean.attention[1, 2, 5, 0])
    assert mean.class_attention[0, 1, 3] == pytest.approx(np.mean([jets[i].class_attention[0, 1, 3] for i in (0, 2)]))
    assert mean.attention.shape == (2, 3, 6, 6)


def test_files_have_the_chosen_jets_and_figures(looked: tuple[Path, Model]) -> None:
    out = looked[0] / "out"
    with h5py.File(out / "attention.h5") as file:
        assert len(file["jets"]) == 4  # one of each truth, and one by its id
        assert "1003" in file["jets"]
        assert set(file["means"]) == {"b", "c", "light"}
        assert sum(int(group.attrs["num_jets"]) for group in file["means"].values()) == 60
        assert file["means/b/attention"].shape == (1, 2, 4, 4)
        names = {f"{group.attrs['truth']}_{number}" for number, group in file["jets"].items()}
    figures = {path.stem for path in out.glob("*.png")}
    expected = {f"{kind}_{name}" for kind in ("matrices", "plane") for name in names}
    assert figures == expected | {f"mean_matrices_{truth}" for truth in ("b", "c", "light")} | {"mean_class_attention"}


def test_what_can_not_be_shown_is_a_readable_error(looked: tuple[Path, Model], tmp_path: Path) -> None:
    inputs = looked[0] / "inputs"
    saved("deepjet", tmp_path)
    build = functools.partial(exporting.build, "deepjet")
    with pytest.raises(ModelError, match=r"no attention(.|\n)*particle_transformer"):
        look_at_attention(tmp_path, inputs, tmp_path, build_model=build, settings=SETTINGS)
    build = functools.partial(exporting.build, "particle_transformer")
    settings = SETTINGS.model_copy(update={"event_ids": (5, 1003)})
    with pytest.raises(DataError, match=r"these ids(.|\n)*got: 5$"):
        look_at_attention(looked[0], inputs, tmp_path, build_model=build, settings=settings)
