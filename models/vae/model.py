"""The autoencoder family: one class that composes an encoder, a posterior and a decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.losses.kl import gaussian_kl
from honeyguide.losses.reconstruction import masked_reconstruction
from honeyguide.nn.convolution import plan_convolutions
from honeyguide.nn.decoders import ConvDecoder, DenseDecoder
from honeyguide.nn.encoders import ConvEncoder, DenseEncoder
from honeyguide.nn.layers import LayerStyle
from honeyguide.nn.model import Model, weighted_mean, weighted_sum
from models.vae.config import VAEConfig


@dataclass(frozen=True)
class Decoded:
    """What one pass through the autoencoder gives.

    Attributes:
        mean: Mean of the posterior, (batch, latent).
        log_variance: Logarithm of its variance; None for a plain autoencoder.
        objects: Decoded objects.
        event: Decoded event features.
    """

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"] | None
    objects: Float[Tensor, "batch object feature"]
    event: Float[Tensor, "batch event_feature"]


class VAE(Model):
    """An autoencoder, plain or variational (arXiv:1312.6114), over objects and event features.

    The latent vector that is decoded is drawn from the posterior in training mode, and its mean in evaluation mode.
    """

    config: VAEConfig

    def __init__(self, config: VAEConfig, spec: InputSpec) -> None:
        super().__init__(config, spec)
        encoder, decoder = _encoder_and_decoder(config, spec)
        self.encoder, self.decoder = encoder, decoder
        self.mean = nn.Linear(encoder.num_outputs, config.latent_dim)
        self.log_variance = (
            nn.Linear(encoder.num_outputs, config.latent_dim) if config.posterior == "gaussian" else None
        )

    def forward(self, batch: Batch) -> Decoded:
        """Returns the posterior and the decoded event."""
        hidden = self.encoder(batch.objects, batch.mask, batch.event)
        mean = self.mean(hidden)
        log_variance = self.log_variance(hidden) if self.log_variance is not None else None
        latent = mean
        if self.training and log_variance is not None:
            latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        objects, event = self.decoder(latent)
        return Decoded(mean, log_variance, objects, event)

    def loss(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns the mean of every term over the batch."""
        return {name: weighted_mean(value, batch.weight) for name, value in self._terms(batch, self(batch)).items()}

    def score(self, batch: Batch) -> dict[str, Float[Tensor, " batch"]]:
        """Returns every term of each event, and their weighted sum as ``total``."""
        return self.outputs(batch)[0]

    def latent(self, batch: Batch) -> Float[Tensor, "batch latent"]:
        """Returns the mean of the posterior."""
        mean: Tensor = self.mean(self.encoder(batch.objects, batch.mask, batch.event))
        return mean

    def outputs(self, batch: Batch) -> tuple[dict[str, Float[Tensor, " batch"]], Float[Tensor, "batch latent"]]:
        """Returns scores and latents from one pass."""
        decoded = self(batch)
        terms = self._terms(batch, decoded)
        return {"total": weighted_sum(terms, self.config.terms), **terms}, decoded.mean

    def _terms(self, batch: Batch, decoded: Decoded) -> dict[str, Float[Tensor, " batch"]]:
        terms = {
            "reconstruction": masked_reconstruction(
                decoded.objects,
                batch.objects,
                batch.mask,
                loss=self.config.reconstruction,
                reconstructed_event=decoded.event,
                event=batch.event,
            )
        }
        if decoded.log_variance is not None:
            terms["kl"] = gaussian_kl(decoded.mean, decoded.log_variance)
        return terms


def _encoder_and_decoder(
    config: VAEConfig, spec: InputSpec
) -> tuple[DenseEncoder, DenseDecoder] | tuple[ConvEncoder, ConvDecoder]:
    style = LayerStyle(config.activation, config.normalization, config.dropout)
    outwards = config.hidden[::-1]
    if config.encoder == "dense":
        return (
            DenseEncoder(spec, hidden=config.hidden, style=style),
            DenseDecoder(spec, latent_dim=config.latent_dim, hidden=outwards, style=style),
        )
    plan = plan_convolutions((spec.num_objects, spec.num_features), len(config.channels))
    widths = (config.latent_dim, *outwards)
    return (
        ConvEncoder(spec, plan=plan, channels=config.channels, hidden=config.hidden, style=style),
        ConvDecoder(spec, plan=plan, channels=config.channels, widths=widths, style=style),
    )


MODEL = VAE
