"""The autoencoder family: one class that composes an encoder, a posterior, a flow, a prior, a decoder and terms."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.augment import augment
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.noise import EventNoise
from honeyguide.losses.contrastive import ntxent, supervised_contrastive
from honeyguide.losses.invariance import maximum_mean_discrepancy
from honeyguide.losses.kl import dirichlet_kl, gaussian_kl
from honeyguide.losses.reconstruction import masked_reconstruction
from honeyguide.losses.regularisation import earth_movers_distance, l1_norm, squared_l2_norm
from honeyguide.nn.adversary import GeneratorAdversary
from honeyguide.nn.flows.build import make_flow
from honeyguide.nn.model import Model, weighted_mean, weighted_sum
from models.vae.config import VAEConfig
from models.vae.parts import check_terms, encoder_and_decoder, flow_sizes

EVENT_TERMS = ("reconstruction", "kl", "flow", "emd")
"""Terms that an event has by itself. The others depend on the batch, on the weights alone, or (``adversary``) on the
event's generator: as a score it would tell how well the truth is hidden, and no event of data has it."""


@dataclass(frozen=True)
class Encoded:
    """What the encoder says of a batch.

    Attributes:
        hidden: Its last layer, (batch, width).
        mean: Mean of the posterior before the flow, (batch, latent).
        log_variance: Logarithm of its variance; None for a plain autoencoder.
    """

    hidden: Float[Tensor, "batch width"]
    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"] | None


@dataclass(frozen=True)
class Decoded(Encoded):
    """What one pass through the autoencoder gives.

    Attributes:
        start: Drawn from the posterior, or its mean.
        latent: What is decoded: the start itself, after the flow, or after the softmax.
        log_det: Log-determinant of the flow at the start, (batch,); None without a flow.
        objects: Decoded objects.
        event: Decoded event features.
    """

    start: Float[Tensor, "batch latent"]
    latent: Float[Tensor, "batch latent"]
    log_det: Float[Tensor, " batch"] | None
    objects: Float[Tensor, "batch object feature"]
    event: Float[Tensor, "batch event_feature"]


class VAE(Model):
    """An autoencoder, plain or variational (arXiv:1312.6114), over objects and event features.

    The latent vector that is decoded is drawn from the posterior in training mode, and comes from the posterior's mean
    in evaluation mode: a Gaussian, pushed through a flow (arXiv:1505.05770) or a softmax (Dirichlet prior). Terms that
    compare events act on this vector and not on the one before the flow: it is what the decoder, the distances in the
    latent space and whoever reads the scores see, and a flow could undo what was asked of the other.
    """

    config: VAEConfig
    contrastive_temperature: Tensor
    adversary_strength: Tensor

    def __init__(self, config: VAEConfig, spec: InputSpec) -> None:
        super().__init__(config, spec)
        check_terms(config, spec)
        encoder, decoder = encoder_and_decoder(config, spec)
        self.encoder, self.decoder = encoder, decoder
        self.mean = nn.Linear(encoder.num_outputs, config.latent_dim)
        self.log_variance = (
            nn.Linear(encoder.num_outputs, config.latent_dim) if config.posterior == "gaussian" else None
        )
        self.flow = (
            make_flow(config.flow, config.latent_dim, context_dim=encoder.num_outputs, sizes=flow_sizes(config))
            if config.flow != "none"
            else None
        )
        if {"supervised_contrastive", "ntxent"} & set(config.terms):
            self.add_annealable("contrastive_temperature", config.contrastive_temperature)
        if "adversary" in config.terms:
            self.adversary = GeneratorAdversary(config.latent_dim, len(spec.generators))
            self.add_annealable("adversary_strength", config.adversary_strength)

    @property
    def score_terms(self) -> tuple[str, ...]:
        """Names of the terms that an event has by itself."""
        return tuple(name for name in self.config.terms if name in EVENT_TERMS)

    @property
    def validation_weights(self) -> dict[str, float]:
        """Weight of each term, but 0 for ``adversary``: it is low where generators can be told apart."""
        return {name: 0.0 if name == "adversary" else weight for name, weight in self.config.terms.items()}

    @property
    def permutation_invariant(self) -> Collection[str]:  # type: ignore[override]
        """Returns what a deep set alone decides; the decoder of the objects has an order."""
        if self.config.encoder != "deep_set":
            return ()
        return ("latent", *(set(self.score_terms) - {"reconstruction", "emd"}))

    def forward(self, batch: Batch, *, draw: int | None = None) -> Decoded:
        """Returns the posterior and the decoded event.

        Args:
            batch: The events.
            draw: Decode the draw of this number, which the events' ids decide; None for torch's next random numbers in
                training mode, and the mean in evaluation mode.
        """
        return self._decode(batch, self._encode(batch), draw)

    def loss(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns the mean of every term over the batch."""
        decoded = self(batch)
        terms = {name: weighted_mean(value, batch.weight) for name, value in self._terms(batch, decoded).items()}
        others = [name for name in self.config.terms if name not in terms]
        terms |= {name: self._term_of_batch(name, batch, decoded.latent) for name in others}
        return {name: terms[name] for name in self.config.terms}

    def score(self, batch: Batch) -> dict[str, Float[Tensor, " batch"]]:
        """Returns every term that an event has by itself, and their weighted sum as ``total``."""
        return self.outputs(batch)[0]

    def latent(self, batch: Batch) -> Float[Tensor, "batch latent"]:
        """Returns what is decoded for the mean of the posterior."""
        encoded = self._encode(batch)
        return self._decodable(encoded.mean, encoded.hidden)[0]

    def outputs(
        self, batch: Batch, *, draws: int = 0
    ) -> tuple[dict[str, Float[Tensor, " batch"]], Float[Tensor, "batch latent"]]:
        """Returns scores and latents from one pass through the encoder; latents are not averaged over draws."""
        decoded = self(batch)
        terms = self._terms(batch, decoded)
        if draws and decoded.log_variance is not None:
            drawn = [self._terms(batch, self._decode(batch, decoded, draw)) for draw in range(draws)]
            terms = {name: torch.stack([values[name] for values in drawn]).mean(0) for name in terms}
        return {"total": weighted_sum(terms, self.config.terms), **terms}, decoded.latent

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Returns posterior, latents and reconstruction; a plain autoencoder has no posterior to draw from."""
        decoded = self(batch)
        found = {"mean": decoded.mean, "latent": decoded.latent, "objects": decoded.objects, "event": decoded.event}
        if decoded.log_variance is not None:
            drawn = self._decode(batch, decoded, 0)
            found |= {
                "sigma": torch.exp(0.5 * decoded.log_variance),
                "start": drawn.start,
                "latent_draw": drawn.latent,
            }
        return found

    def _encode(self, batch: Batch) -> Encoded:
        hidden = self.encoder(batch.objects, batch.mask, batch.event)
        log_variance = self.log_variance(hidden) if self.log_variance is not None else None
        return Encoded(hidden, self.mean(hidden), log_variance)

    def _decode(self, batch: Batch, encoded: Encoded, draw: int | None) -> Decoded:
        start = self._start(batch, encoded, draw)
        latent, log_det = self._decodable(start, encoded.hidden)
        objects, event = self.decoder(latent)
        return Decoded(encoded.hidden, encoded.mean, encoded.log_variance, start, latent, log_det, objects, event)

    def _start(self, batch: Batch, encoded: Encoded, draw: int | None) -> Float[Tensor, "batch latent"]:
        """Returns a draw from the Gaussian posterior, or its mean; see :meth:`forward`."""
        mean = encoded.mean
        if encoded.log_variance is None or (draw is None and not self.training):
            return mean
        if draw is None:
            noise = torch.randn_like(mean)
        else:
            noise = EventNoise(batch.event_id, draw=draw).normal(mean.shape[1]).to(mean.dtype)
        return mean + torch.exp(0.5 * encoded.log_variance) * noise

    def _decodable(
        self, start: Float[Tensor, "batch latent"], hidden: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"] | None]:
        """Returns what is decoded for a start, and the flow's log-determinant."""
        if self.flow is not None:
            # a determinant near 1 is 1 in bfloat16, and its logarithm lost
            with torch.autocast(start.device.type, enabled=False):
                latent, log_det = self.flow(
                    *(x.to(torch.promote_types(x.dtype, torch.float32)) for x in (start, hidden))
                )
            return latent, log_det
        return (torch.softmax(start, 1) if self.config.prior == "dirichlet" else start), None

    def _terms(self, batch: Batch, decoded: Decoded) -> dict[str, Float[Tensor, " batch"]]:
        """Returns the terms that an event has by itself."""
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
        if "emd" in self.config.terms:
            column = self.spec.continuous_column(self.config.emd_feature, where="model.emd_feature")
            terms["emd"] = earth_movers_distance(
                decoded.objects[..., column], batch.objects[..., column], batch.mask, batch.mask
            )
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

    def _term_of_batch(self, name: str, batch: Batch, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """Returns a term that is no property of single events."""
        if name == "supervised_contrastive":
            value = supervised_contrastive(
                latent, batch.generator, temperature=self.contrastive_temperature, across_ranks=True
            )
            return weighted_mean(value, batch.weight)
        if name == "ntxent":
            first, second = self._views(batch)
            value = ntxent(first, second, temperature=self.contrastive_temperature, across_ranks=True)
            return weighted_mean(value, batch.weight)
        if name == "adversary":
            return weighted_mean(
                self.adversary(latent, batch.generator, strength=self.adversary_strength), batch.weight
            )
        if name == "mmd":
            return maximum_mean_discrepancy(
                latent,
                batch.generator,
                num_generators=len(self.spec.generators),
                # a distribution has no negative weights; events that have are left out of the comparison
                weight=batch.weight.clamp(min=0),
                across_ranks=True,
            )
        weights = [weight for name, weight in self.named_parameters() if not name.startswith("adversary.")]
        return l1_norm(weights) if name == "l1" else squared_l2_norm(weights)

    def _views(self, batch: Batch) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns the latent vectors of two views of each event; in evaluation mode they are always the same two."""
        sources = [None if self.training else EventNoise(batch.event_id, draw=draw) for draw in range(2)]
        views = [augment(batch, self.spec, self.config.augmentation, generator=source) for source in sources]
        both = Batch.join(views)
        encoded = self._encode(both)
        latent, _ = self._decodable(self._start(both, encoded, None), encoded.hidden)
        first, second = latent.chunk(2)
        return first, second


MODEL = VAE
