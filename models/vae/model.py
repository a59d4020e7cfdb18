"""The autoencoder family: one class that composes an encoder, a posterior, a flow, a prior and a decoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.noise import EventNoise
from honeyguide.errors import ConfigError
from honeyguide.losses.kl import dirichlet_kl, gaussian_kl
from honeyguide.losses.reconstruction import masked_reconstruction
from honeyguide.nn.convolution import plan_convolutions
from honeyguide.nn.decoders import ConvDecoder, DenseDecoder
from honeyguide.nn.encoders import ConvEncoder, DeepSetEncoder, DenseEncoder
from honeyguide.nn.flows.build import FlowSizes, make_flow
from honeyguide.nn.layers import LayerStyle
from honeyguide.nn.model import Model, weighted_mean, weighted_sum
from models.vae.config import VAEConfig


@dataclass(frozen=True)
class Decoded:
    """What one pass through the autoencoder gives.

    Attributes:
        mean: Mean of the posterior before the flow, (batch, latent).
        log_variance: Logarithm of its variance; None for a plain autoencoder.
        start: Drawn from it, or its mean.
        latent: What is decoded: the start itself, after the flow, or after the softmax.
        log_det: Log-determinant of the flow at the start, (batch,); None without a flow.
        objects: Decoded objects.
        event: Decoded event features.
    """

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"] | None
    start: Float[Tensor, "batch latent"]
    latent: Float[Tensor, "batch latent"]
    log_det: Float[Tensor, " batch"] | None
    objects: Float[Tensor, "batch object feature"]
    event: Float[Tensor, "batch event_feature"]


class VAE(Model):
    """An autoencoder, plain or variational (arXiv:1312.6114), over objects and event features.

    The latent vector that is decoded is drawn from the posterior in training mode, and comes from the posterior's mean
    in evaluation mode: a Gaussian, pushed through a flow (arXiv:1505.05770) or a softmax (Dirichlet prior).
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
        self.flow = (
            make_flow(config.flow, config.latent_dim, context_dim=encoder.num_outputs, sizes=_flow_sizes(config))
            if config.flow != "none"
            else None
        )

    @property
    def permutation_invariant(self) -> Collection[str]:  # type: ignore[override]
        """Returns what a deep set alone decides; the decoder of the objects has an order."""
        return ("latent", *(set(self.config.terms) - {"reconstruction"})) if self.config.encoder == "deep_set" else ()

    def forward(self, batch: Batch, *, draw: int | None = None) -> Decoded:
        """Returns the posterior and the decoded event.

        Args:
            batch: The events.
            draw: Decode the draw of this number, which the events' ids decide; None for torch's next random numbers in
                training mode, and the mean in evaluation mode.
        """
        hidden = self.encoder(batch.objects, batch.mask, batch.event)
        mean = self.mean(hidden)
        log_variance = self.log_variance(hidden) if self.log_variance is not None else None
        start = mean
        if log_variance is not None and (draw is not None or self.training):
            start = mean + torch.exp(0.5 * log_variance) * _noise(batch, mean, draw)
        latent, log_det = self._decodable(start, hidden)
        objects, event = self.decoder(latent)
        return Decoded(mean, log_variance, start, latent, log_det, objects, event)

    def loss(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns the mean of every term over the batch."""
        return {name: weighted_mean(value, batch.weight) for name, value in self._terms(batch, self(batch)).items()}

    def score(self, batch: Batch) -> dict[str, Float[Tensor, " batch"]]:
        """Returns every term of each event, and their weighted sum as ``total``."""
        return self.outputs(batch)[0]

    def latent(self, batch: Batch) -> Float[Tensor, "batch latent"]:
        """Returns what is decoded for the mean of the posterior."""
        hidden = self.encoder(batch.objects, batch.mask, batch.event)
        return self._decodable(self.mean(hidden), hidden)[0]

    def outputs(self, batch: Batch) -> tuple[dict[str, Float[Tensor, " batch"]], Float[Tensor, "batch latent"]]:
        """Returns scores and latents from one pass."""
        decoded = self(batch)
        terms = self._terms(batch, decoded)
        return {"total": weighted_sum(terms, self.config.terms), **terms}, decoded.latent

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Returns posterior, latents and reconstruction; a plain autoencoder has no posterior to draw from."""
        decoded = self(batch)
        found = {"mean": decoded.mean, "latent": decoded.latent, "objects": decoded.objects, "event": decoded.event}
        if decoded.log_variance is not None:
            drawn = self(batch, draw=0)
            found |= {
                "sigma": torch.exp(0.5 * decoded.log_variance),
                "start": drawn.start,
                "latent_draw": drawn.latent,
            }
        return found

    def _decodable(
        self, start: Float[Tensor, "batch latent"], hidden: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"] | None]:
        """Returns what is decoded for a start, and the flow's log-determinant."""
        if self.flow is not None:
            latent, log_det = self.flow(start, hidden)
            return latent, log_det
        return (torch.softmax(start, 1) if self.config.prior == "dirichlet" else start), None

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
            terms["kl"] = self._kl(decoded, decoded.log_variance)
        if decoded.log_det is not None:
            terms["flow"] = -decoded.log_det
        return terms

    def _kl(self, decoded: Decoded, log_variance: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """Returns the divergence of the posterior from the prior, but for the flow's log-determinant.

        With a flow it is estimated from the one draw as KL(q0 || p) + log p(start) - log p(latent): q0 is the Gaussian
        before the flow, and the prior p is that of what is decoded. Its mean plus that of ``flow`` is the divergence of
        the posterior after the flow (equation 15 of arXiv:1505.05770). KL(q0 || p) alone, BEAD's choice, leaves the
        flow nothing to lose by widening the posterior without end.
        """
        if self.config.prior == "dirichlet":
            return dirichlet_kl(decoded.mean, log_variance, concentration=self.config.prior_concentration)
        kl = gaussian_kl(decoded.mean, log_variance)
        if decoded.log_det is None:
            return kl
        return kl + 0.5 * (decoded.latent.square() - decoded.start.square()).sum(1)


def _noise(batch: Batch, like: Float[Tensor, "batch latent"], draw: int | None) -> Float[Tensor, "batch latent"]:
    if draw is None:
        return torch.randn_like(like)
    return EventNoise(batch.event_id, draw=draw).normal(like.shape[1]).to(like.dtype)


def _encoder_and_decoder(
    config: VAEConfig, spec: InputSpec
) -> tuple[DenseEncoder | DeepSetEncoder, DenseDecoder] | tuple[ConvEncoder, ConvDecoder]:
    style = LayerStyle(config.activation, config.normalization, config.dropout)
    outwards = config.hidden[::-1]
    if config.encoder == "conv":
        size = (spec.num_objects, spec.num_features)
        plan = plan_convolutions(size, len(config.channels), padding=config.conv_padding)
        widths = (config.latent_dim, *outwards)
        return (
            ConvEncoder(spec, plan=plan, channels=config.channels, hidden=config.hidden, style=style),
            ConvDecoder(spec, plan=plan, channels=config.channels, widths=widths, style=style),
        )
    encoder: DenseEncoder | DeepSetEncoder
    if config.encoder == "dense":
        encoder = DenseEncoder(spec, hidden=config.hidden, style=style)
    else:
        if spec.num_objects == 1:
            raise ConfigError(
                "a deep set needs more than one object per event",
                where="model.encoder",
                got=f"deep_set, with one object at preprocess.level {spec.level}",
                allowed="dense, conv",
            )
        encoder = DeepSetEncoder(
            spec,
            object_hidden=config.object_hidden,
            num_heads=config.attention_heads,
            hidden=config.hidden,
            style=style,
        )
    return encoder, DenseDecoder(spec, latent_dim=config.latent_dim, hidden=outwards, style=style)


def _flow_sizes(config: VAEConfig) -> FlowSizes:
    return FlowSizes(
        steps=config.flow_steps,
        vectors=config.flow_vectors,
        hidden=config.flow_hidden,
        kernel=config.flow_kernel,
        bins=config.flow_bins,
        bound=config.flow_bound,
    )


MODEL = VAE
