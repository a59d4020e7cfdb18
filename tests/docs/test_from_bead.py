"""The page for users of BEAD names all of BEAD, and what it names here exists."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from configs.load import load_experiment
from honeyguide.preprocess.settings import SCALERS
from models.vae.config import Term
from models.vae.presets import Preset
from tests.docs.pages import blocks, task_names, text_of

PAGE = text_of("docs/from-bead.md")
MODES = "new_project convert_csv prepare_inputs train detect plot diagnostics chain"
FIELDS = """
file_type parallel_workers chunk_size num_jets num_constits latent_space_size normalizations invert_normalizations
train_size model_name input_level input_features model_init loss_function optimizer lr epochs batch_size early_stopping
early_stopping_patience min_delta lr_scheduler lr_scheduler_patience reg_param contrastive_temperature
contrastive_weight ntxent_sigma intermittent_model_saving intermittent_saving_patience latent_space_plot_style
subsample_plot subsample_size overlay_roc overlay_roc_projects overlay_roc_save_location overlay_roc_filename
annealing_params use_ddp use_amp activation_extraction deterministic_algorithm separate_model_saving
efp_mode efp_nmax efp_dmax efp_extended_mode efp_beta efp_beta_list efp_measure efp_normed efp_include_composites
efp_eps efp_embedding_dim efp_gate_type efp_gate_threshold efp_dropout_rate efp_use_layer_norm efp_monitor_sparsity
efp_standardize_meanvar efp_cache_dir efp_n_jobs efp_device efp_feature_prefix efp_use_true_energy enable_transformer
transformer_mode transformer_d_model transformer_n_heads transformer_n_layers transformer_d_ff transformer_dropout
transformer_activation transformer_norm_first transformer_use_class_attention transformer_max_jets
transformer_output_dim transformer_output_activation transformer_positional_encoding transformer_token_type_embeddings
transformer_gradient_checkpointing transformer_attention_dropout transformer_layer_norm_eps
"""
MODELS = """
AE AE_Dropout_BN ConvAE ConvVAE Dirichlet_ConvVAE Planar_ConvVAE OrthogonalSylvester_ConvVAE
HouseholderSylvester_ConvVAE TriangularSylvester_ConvVAE IAF_ConvVAE ConvFlow_ConvVAE NSFAR_ConvVAE TransformerAE
FlexibleTransformer HyperTransformer VAEWithTransformer pj_ensemble pj_custom
"""
LOSSES = """
ReconstructionLoss KLDivergenceLoss VAELoss VAEFlowLoss DVAELoss DVAEFlowLoss SupervisedContrastiveLoss VAESupConLoss
VAEFlowSupConLoss NTXentLoss NTXentVAELoss NTXentVAEFlowLoss NTXentDVAELoss NTXentDVAEFlowLoss NTXentCombinedLoss
VAELossEMD VAELossL1 VAELossL2 VAEFlowLossEMD VAEFlowLossL1 VAEFlowLossL2 WassersteinLoss BinaryCrossEntropyLoss
L1Regularization L2Regularization
"""
ANNEALING = """
CONSTANT_PACE SCHEDULED TRIGGER_BASED start_value end_value total_steps schedule values trigger_source current_index
early_stopper_counter early_stopper_third_patience early_stopper_half_patience early_stopper_triggered
lr_scheduler_triggered
"""
NORMALISATIONS = "minmax standard robust log l2 power quantile maxabs sincos log+standard pj_custom"
PLOTS = """
loss/train_metrics.pdf loss/loss_components_train.pdf loss/loss_components_val.pdf loss/loss_components_test.pdf
loss/roc.pdf latent_space/train_z0.pdf latent_space/test_z0.pdf latent_space/train_zk.pdf latent_space/test_zk.pdf
latent_space/{project}_train_mu.pdf latent_space/{project}_test_mu.pdf train_uncertainty.pdf test_uncertainty.pdf
"""


def rows(heading: str) -> dict[str, str]:
    """The tables under a heading: every name in the columns of BEAD to the last column."""
    text = re.split(r"(?m)^## ", PAGE.split(f"\n## {heading}\n")[1])[0]
    found = {}
    for line in re.findall(r"(?m)^\| (.*) \|$", text):
        *left, right = line.split(" | ")
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", " ".join(left)), right)
    return found


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Config fields", FIELDS),
        ("Models", MODELS),
        ("Losses", LOSSES),
        ("Normalisations", NORMALISATIONS),
        ("Plots", PLOTS),
    ],
)
def test_every_name_of_bead_has_a_row(heading, names):
    found = rows(heading)
    assert [name for name in names.split() if not found.get(name, "").strip()] == []


def test_modes_and_annealing_are_there():
    modes = " ".join(rows("Modes"))
    assert [mode for mode in MODES.split() if f"-m {mode}" not in modes] == []
    annealing = PAGE.split("\n## Annealing\n")[1].split("\n## ")[0]
    assert [name for name in ANNEALING.split() if f"`{name}`" not in annealing] == []


def test_bead_has_thirteen_plots():
    numbers = re.findall(r"(?m)^\| (\d+) \| `([^`]+)`", PAGE)
    assert [name for _, name in numbers] == PLOTS.split()
    assert [int(number) for number, _ in numbers] == list(range(1, 14))


def test_presets_terms_and_scalers_are_those_of_the_code():
    presets = [name for name, text in rows("Models").items() if "preset" in text]
    assert sorted(presets) == sorted(get_args(Preset))
    losses = PAGE.split("\n## Losses\n")[1].split("\n## ")[0]
    assert [term for term in get_args(Term) if f"`{term}`" not in losses and f"{{{term}:" not in losses] == []
    same = [name for name, text in rows("Normalisations").items() if text.startswith("the same names")]
    assert set(same) <= set(SCALERS)


def test_tasks_exist():
    assert set(re.findall(r"\b[A-Z]\w+Task\b", PAGE)) <= task_names()


def test_bead_defaults_load(tmp_path):
    (block,) = [block for block in blocks(PAGE) if block.file == "bead_defaults.yaml"]
    path = tmp_path / block.file
    path.write_text(block.text)
    settings = load_experiment(str(path)).settings
    assert settings.model.flow == "planar"
    assert settings.model.flow_steps == 6
    assert [feature.name for feature in settings.preprocess.object_features] == ["jet_btag", "pt", "eta", "phi"]
    assert settings.training.annealing["reg_param"].values == (0.001, 0.005, 0.01)
