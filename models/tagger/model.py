"""Taggers: a network that makes a vector of each row, and what it takes to make probabilities of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError
from honeyguide.losses.classification import accuracy, cross_entropy
from honeyguide.losses.regularisation import l1_norm, squared_l2_norm
from honeyguide.nn import weaver_particle_net, weaver_particle_transformer
from honeyguide.nn.deepjet_transformer import DeepJetTransformer
from honeyguide.nn.model import Model, weighted_mean
from honeyguide.nn.particle_net import ParticleNet
from models.tagger.classes import class_codes
from models.tagger.config import TaggerConfig
from models.tagger.deepjet import DeepJet
from models.tagger.deepjet_transformer import make_deepjet_transformer
from models.tagger.mlp import MLP
from models.tagger.particle_transformer import ParticleTransformerNetwork
from models.tagger.particlenet import make_particlenet
from models.tagger.regression import Regression

Network = DeepJet | DeepJetTransformer | MLP | ParticleNet | ParticleTransformerNetwork
NETWORKS: dict[str, Callable[[TaggerConfig, InputSpec], Network]] = {
    "deepjet": DeepJet,
    "mlp": MLP,
    "particlenet": make_particlenet,
    "particle_transformer": ParticleTransformerNetwork,
    "deepjet_transformer": make_deepjet_transformer,
}
"""What ``network`` names: modules made of (settings, inputs) that make ``num_outputs`` values of each row."""


ORDERLESS = ("particlenet", "particle_transformer", "deepjet_transformer")
"""Networks that the order of the objects does not change."""


PUBLISHED: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "particlenet": weaver_particle_net.from_weaver,
    "particle_transformer": weaver_particle_transformer.from_weaver,
}
"""What makes a state dict of a tagger of one of weaver-core, by network."""


class Tagger(Model):
    """A classifier, a regression, or both at once.

    Its scores are the probabilities of the classes and the predicted targets, its latents the network's last hidden
    layer.
    """

    config: TaggerConfig

    def __init__(self, config: TaggerConfig, spec: InputSpec) -> None:
        super().__init__(config, spec)
        self.classes, codes = class_codes(config, spec) if config.classify else ((), ())
        if not spec.sets and not spec.num_event_features:
            raise ConfigError("these inputs have neither sets of objects nor features of the row", where="preprocess")
        self.network = NETWORKS[config.network](config, spec)
        width = self.network.num_outputs
        self.to_logits = nn.Linear(width, len(self.classes), bias=config.bias) if config.classify else None
        if isinstance(self.network, ParticleTransformerNetwork) and self.to_logits is not None:
            self.network.initialise_classifier(self.to_logits)
        self.to_targets = Regression(config, spec, width) if config.regression else None
        self.predictions = {} if self.to_targets is None else self.to_targets.outputs
        if config.network in ORDERLESS:
            self.permutation_invariant = ("latent", *(f"prob_{name}" for name in self.classes), *self.predictions)
        self.any_length = config.network != "mlp"
        # a truth of -1, which is none, finds the last entry
        self.register_buffer("class_of_truth", torch.tensor([*codes, -1]), persistent=False)

    @property
    def score_terms(self) -> tuple[str, ...]:
        """No term is a score: all need the truth."""
        return ()

    def latent(self, batch: Batch) -> Float[Tensor, "batch latent"]:
        """Returns the last hidden layer."""
        latent: Tensor = self.network(batch)
        return latent

    def score(self, batch: Batch) -> dict[str, Float[Tensor, " batch"]]:
        """Returns the probability of each class as ``prob_<class>``, and what is predicted, see ``predictions``."""
        return self.outputs(batch)[0]

    def outputs(
        self,
        batch: Batch,
        *,
        draws: int = 0,  # noqa: ARG002  nothing is drawn
    ) -> tuple[dict[str, Float[Tensor, " batch"]], Float[Tensor, "batch latent"]]:
        """Returns scores and latents from one pass through the network."""
        latent = self.latent(batch)
        scores = {} if self.to_targets is None else self.to_targets.scores(latent)
        if self.to_logits is not None:
            probabilities = torch.softmax(self.to_logits(latent).float(), dim=1)
            scores = {f"prob_{name}": probabilities[:, code] for code, name in enumerate(self.classes)} | scores
        return scores, latent

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Returns the latents, and what the network lets be looked at: attention weights."""
        transformers = (ParticleTransformerNetwork, DeepJetTransformer)
        seen = self.network.inspect(batch) if isinstance(self.network, transformers) else {}
        return {**super().inspect(batch), **seen}

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state dict with the names of this tagger, of one of weaver-core's or of a tagger.

        Raises:
            ModelError: It is not that of weaver-core's network of this name.
        """
        if self.config.network not in PUBLISHED or any(name.startswith("network.") for name in state):
            return dict(state)
        # of a module that is trained by several processes, and of the wrapper in the authors' examples
        plain = {re.sub(r"^(module\.)?(mod\.)?", "", name): value for name, value in state.items()}
        return PUBLISHED[self.config.network](plain)

    def loss(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns the mean of every term over the batch; for those of classes, rows in no class have weight 0."""
        latent = self.latent(batch)
        terms = {} if self.to_targets is None else self.to_targets.terms(latent, batch)
        if self.to_logits is not None:
            logits, target = self.to_logits(latent).float(), self._classes_of(batch)
            weight = batch.weight * (target >= 0)
            each = cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
            terms |= {"cross_entropy": weighted_mean(each, weight), "accuracy": accuracy(logits, target, weight)}
        if "l1" in self.config.terms:
            terms["l1"] = l1_norm(self.parameters())
        if "l2" in self.config.terms:
            terms["l2"] = squared_l2_norm(self.parameters())
        return {name: terms[name] for name in self.config.terms}

    def _classes_of(self, batch: Batch) -> Int[Tensor, " batch"]:
        assert batch.truth is not None, "rows that are to be learned from have a truth"
        return self.get_buffer("class_of_truth")[batch.truth]


MODEL = Tagger
