"""The autoencoder's own promises: what its terms are the parts of, and what a deep set does not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import models
from honeyguide.data.batch import Batch
from honeyguide.errors import ConfigError
from honeyguide.nn.model import Model
from tests.planted import make_spec

SPEC = make_spec("jet", shape=(4,), num_features=3, num_event_features=1)


def make_batch(num_events: int, num_objects: int = 4) -> Batch:
    torch.manual_seed(0)
    mask = torch.rand(num_events, num_objects) < 0.7
    return Batch(
        objects=torch.randn(num_events, num_objects, 3).masked_fill(~mask[..., None], 0),
        mask=mask,
        event=torch.randn(num_events, 1),
        weight=torch.ones(num_events),
        label=torch.zeros(num_events, dtype=torch.int64),
        generator=torch.zeros(num_events, dtype=torch.int64),
        event_id=torch.arange(num_events),
    )


def make_model(**values: object) -> Model:
    torch.manual_seed(1)
    return models.build(models.parse({"family": "vae", "hidden": [8], **values}), SPEC)


@pytest.mark.parametrize("flow", ["planar", "iaf", "convolutional", "spline", "triangular_sylvester"])
def test_kl_and_flow_add_up_to_the_divergence_of_the_posterior_after_the_flow(flow):
    """In one dimension that divergence is an integral; a million draws in training mode are compared with it."""
    model = make_model(flow=flow, latent_dim=1, flow_hidden=4, flow_kernel=2, flow_steps=2)
    for parameter in model.flow.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    one = make_batch(1)
    hidden = model.encoder(one.objects, one.mask, one.event).detach()
    mean, deviation = model.mean(hidden).item(), torch.exp(0.5 * model.log_variance(hidden)).item()

    start = mean + deviation * torch.linspace(-8, 8, 20_001)
    with torch.no_grad():
        end = model.flow(start[:, None], hidden.expand(len(start), -1))[0][:, 0].double().numpy()
    density = torch.distributions.Normal(mean, deviation).log_prob(start).double().exp().numpy()
    # the density that the flow makes, from the slope of the map itself and not from its log-determinant
    pushed = density / np.abs(np.gradient(end, start.double().numpy()))
    prior = np.exp(-(end**2) / 2) / np.sqrt(2 * np.pi)
    expected = np.trapezoid(density * np.log(np.clip(pushed, 1e-300, None) / prior), start.double().numpy())

    draws = 200_000
    many = one.map(lambda value: value.expand(draws, *value.shape[1:]))
    with torch.no_grad():
        decoded = model.train()(many)
        terms = model._terms(many, decoded)
    estimates = (terms["kl"] + terms["flow"]).double()
    error = estimates.std().item() / draws**0.5
    assert abs(estimates.mean().item() - expected) < 5 * error + 2e-3


def test_the_flow_term_is_the_negative_log_determinant_and_scores_are_those_of_the_mean():
    model, batch = make_model(flow="iaf", latent_dim=3).eval(), make_batch(6)
    hidden = model.encoder(batch.objects, batch.mask, batch.event)
    latent, log_det = model.flow(model.mean(hidden), hidden)
    scores, latents = model.outputs(batch)
    torch.testing.assert_close(scores["flow"], -log_det)
    torch.testing.assert_close(latents, latent)


def test_latents_with_a_dirichlet_prior_are_shares():
    model, batch = make_model(prior="dirichlet", latent_dim=4), make_batch(6)
    for latent in (model.latent(batch), model.train()(batch).latent, model.eval()(batch).latent):
        assert (latent > 0).all()
        torch.testing.assert_close(latent.sum(1), torch.ones(6))


def test_a_deep_set_sees_neither_order_nor_number_of_padded_slots():
    for normalization in ("none", "layer", "batch"):
        model = make_model(encoder="deep_set", normalization=normalization)
        assert set(model.permutation_invariant) == {"latent", "kl"}
        batch = make_batch(9)
        longer = replace(
            batch,
            objects=torch.cat([batch.objects, torch.full((9, 5, 3), torch.nan)], 1),
            mask=torch.cat([batch.mask, torch.zeros(9, 5, dtype=torch.bool)], 1),
        )
        order = torch.randperm(9)
        shuffled = replace(longer, objects=longer.objects[:, order], mask=longer.mask[:, order])
        expected = model.train().encoder(batch.objects, batch.mask, batch.event)
        for other in (longer, shuffled):
            torch.testing.assert_close(model.encoder(other.objects, other.mask, other.event), expected)


def test_a_deep_set_sees_every_object_and_how_many_there_are():
    model = make_model(encoder="deep_set").eval()
    batch = replace(make_batch(9), mask=torch.ones(9, 4, dtype=torch.bool))
    latents = model.latent(batch)
    for slot in range(4):
        objects = batch.objects.clone()
        objects[:, slot] += 1
        assert not torch.isclose(model.latent(replace(batch, objects=objects)), latents).all(1).any()
    twin = replace(batch, objects=batch.objects[:, :1].expand(-1, 4, -1))
    alone = replace(twin, mask=torch.arange(4).expand(9, 4) < 1)
    assert not torch.isclose(model.latent(twin), model.latent(alone)).all(1).any()


def test_a_deep_set_of_one_object_is_a_readable_error():
    config = models.parse({"family": "vae", "encoder": "deep_set"})
    with pytest.raises(ConfigError, match="more than one object"):
        models.build(config, make_spec("event", shape=(1,), num_features=4, num_event_features=0))


def test_models_without_permutation_invariance_claim_none():
    assert not make_model().permutation_invariant
    assert not make_model(encoder="conv").permutation_invariant


@pytest.mark.parametrize("values", [{}, {"flow": "planar"}, {"prior": "dirichlet"}])
def test_inspection_shows_posterior_draws_and_reconstruction(values):
    model, batch = make_model(latent_dim=4, **values).eval(), make_batch(2000)
    with torch.no_grad():
        found, decoded = model.inspect(batch), model(batch)
    assert set(found) == {"mean", "sigma", "start", "latent", "latent_draw", "objects", "event"}
    for name in ("mean", "latent", "objects", "event"):
        assert torch.equal(found[name], getattr(decoded, name))
    assert torch.equal(found["sigma"], torch.exp(0.5 * decoded.log_variance))
    noise = (found["start"] - found["mean"]) / found["sigma"]
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    with torch.no_grad():
        hidden = model.encoder(batch.objects, batch.mask, batch.event)
        assert torch.equal(found["latent_draw"], model._decodable(found["start"], hidden)[0])
        alone = model.inspect(batch.rows(5, 7))
    for name, value in alone.items():
        torch.testing.assert_close(value, found[name][5:7])


def test_inspection_of_a_plain_autoencoder_has_no_posterior():
    model, batch = make_model(posterior="none").eval(), make_batch(5)
    assert set(model.inspect(batch)) == {"mean", "latent", "objects", "event"}


def test_the_flows_determinant_survives_bfloat16():
    model = make_model(flow="planar", flow_steps=6).eval()
    batch = make_batch(50)
    with torch.inference_mode():
        exact = model(batch).log_det
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(batch).log_det
    assert rounded.dtype == torch.float32
    # a few per cent: the encoder that feeds the flow is rounded, the determinant is not
    assert (rounded - exact).abs().max() < 0.1 * exact.abs().max()
