"""The adversary learns generators where it can, and takes them out of the latents."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from honeyguide.nn.adversary import GeneratorAdversary

GENERATOR = torch.arange(600) % 3


def features(seed: int) -> torch.Tensor:
    """Four numbers per event, of which the first two tell the generator, and have the larger variance."""
    torch.manual_seed(seed)
    values = torch.randn(len(GENERATOR), 4)
    values[:, :2] += 3 * torch.eye(3, 2)[GENERATOR]
    return values


def accuracy_of_a_classifier(latent: torch.Tensor, others: torch.Tensor) -> float:
    """How often a fresh classifier, trained on latents, is right on others."""
    torch.manual_seed(9)
    independent = GeneratorAdversary(latent.shape[1], 3, hidden=(16,))
    optimizer = torch.optim.Adam(independent.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        independent(latent, GENERATOR, strength=1.0).mean().backward()
        optimizer.step()
    return float((independent.classifier(others).argmax(1) == GENERATOR).float().mean())


def accuracy_after_training(strength: float) -> float:
    """How well generators are told apart in the two latent dimensions of an autoencoder with an adversary."""
    values, others = features(1), features(2)
    torch.manual_seed(3)
    encoder, decoder, adversary = nn.Linear(4, 2), nn.Linear(2, 4), GeneratorAdversary(2, 3, hidden=(16,))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    adversary_optimizer = torch.optim.Adam(adversary.parameters(), lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        adversary_optimizer.zero_grad()
        latent = encoder(values)
        reconstruction = (decoder(latent) - values).square().mean()
        (reconstruction + adversary(latent, GENERATOR, strength=strength).mean()).backward()
        optimizer.step()
        adversary_optimizer.step()
    with torch.no_grad():
        latents = encoder(torch.cat([values, others]))
    latents = (latents - latents.mean(0)) / latents.std(0)
    return accuracy_of_a_classifier(*latents.chunk(2))


def test_its_own_gradient_is_plain_and_that_of_the_latents_reversed():
    torch.manual_seed(2)
    adversary = GeneratorAdversary(4, 3, hidden=(8,))
    latent = features(1).requires_grad_()
    parameters = list(adversary.parameters())
    loss = functional.cross_entropy(adversary.classifier(latent), GENERATOR)
    plain = torch.autograd.grad(loss, [latent, *parameters])
    losses = adversary(latent, GENERATOR, strength=0.3)
    assert losses.shape == (len(GENERATOR),)
    torch.testing.assert_close(losses.mean(), loss)
    found = torch.autograd.grad(losses.mean(), [latent, *parameters])
    torch.testing.assert_close(found[0], -0.3 * plain[0])
    for mine, theirs in zip(found[1:], plain[1:], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_it_takes_the_generator_out_of_what_an_encoder_gives():
    assert accuracy_of_a_classifier(features(1), features(2)) > 0.8
    assert accuracy_after_training(strength=0.0) > 0.8
    assert accuracy_after_training(strength=3.0) < 0.45  # guessing: 0.33
