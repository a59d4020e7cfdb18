"""What the trainer and the inference know of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec

Own = TypeVar("Own", bound="Model")


@runtime_checkable
class ModelConfig(Protocol):
    """The part of a family's config that the library reads; configs are ``honeyguide.settings.Settings``."""

    @property
    def family(self) -> str:
        """Name of the family in the registry."""

    @property
    def terms(self) -> dict[str, float]:
        """Weight of each loss term by name."""


class Model(nn.Module, ABC):
    """Base of all models.

    A model is an anomaly detector, whose scores say how signal-like an event is, or a classifier, whose scores are the
    probabilities of its classes, or a regression, whose scores are predicted targets, or both of these.

    Attributes:
        classes: Names of the classes of a classifier; () for an anomaly detector.
        predictions: Names of the scores that are predicted targets, in the units of the scaled target, to the target.
        permutation_invariant: Names of the scores that the order of the objects does not change, with ``latent`` among
            them where it does not change the latents; a claim that the contract test checks.
        any_length: Whether sets of objects may come with fewer slots than the inputs have, where the others are empty.
        config: What it was built from, together with ``spec``.
        spec: The inputs that it takes.
    """

    classes: tuple[str, ...] = ()
    predictions: Mapping[str, str] = {}
    permutation_invariant: Collection[str] = ()
    any_length: bool = False

    def __init__(self, config: ModelConfig, spec: InputSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self._annealable: dict[str, float] = {}
        self._frozen: tuple[nn.Module, ...] = ()

    def train(self: Own, mode: bool = True) -> Own:
        """Returns the model in training or evaluation mode; of what is frozen, normalisations stay in evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def freeze(self, names: Collection[str]) -> None:
        """Keeps weights and running means of these names, which are those of the state dict, as they are.

        A module of which everything is named and that has running means (a batch normalisation) is applied as in
        evaluation. Dropout in frozen parts goes on.
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in names)
        kept = set(self.state_dict(keep_vars=True))
        frozen = []
        for prefix, module in self.named_modules():
            own = [*module._parameters, *module._buffers]
            own = [name for name in (f"{prefix}.{name}" if prefix else name for name in own) if name in kept]
            if module._buffers and own and all(name in names for name in own):
                frozen.append(module)
        self._frozen = tuple(frozen)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a state dict with the names of this model, of one with the names of the publication's own code.

        Names that are no other code's are left as they are.
        """
        return dict(state)

    @property
    def is_detector(self) -> bool:
        """Whether this is an anomaly detector."""
        return not self.classes and not self.predictions

    @property
    def score_terms(self) -> tuple[str, ...]:
        """Names of the terms that are scores: those that an event has by itself, without its batch or its truth."""
        return tuple(self.config.terms)

    @property
    def validation_weights(self) -> dict[str, float]:
        """Weight of each term in the loss that is validated: 0 where less of the term makes no better model."""
        return dict(self.config.terms)

    @property
    def annealable(self) -> dict[str, float]:
        """Values beside the weights of the terms that may change from epoch to epoch, as they are in the config."""
        return dict(self._annealable)

    def add_annealable(self, name: str, value: float) -> None:
        """Makes ``name`` an attribute with that value: a tensor that follows the model, and is none of its weights."""
        self._annealable[name] = value
        self.register_buffer(name, torch.tensor(value), persistent=False)

    def anneal(self, values: Mapping[str, float]) -> None:
        """Sets all of :attr:`annealable`; in place, so that what is compiled stays so."""
        for name in self._annealable:
            self.get_buffer(name).fill_(values[name])

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Returns every term named in ``config.terms``, unweighted.

        For a term that is a score: the mean of ``batch.weight`` times it. Others may compare the events of the batch
        with one another, in training mode with those of all ranks.
        """

    @abstractmethod
    def score(self, batch: Batch) -> dict[str, Float[Tensor, " batch"]]:
        """Returns scores by name.

        Of an anomaly detector, larger for more signal-like events: the terms in :attr:`score_terms`, and ``total``,
        their sum weighted by ``config.terms``. Of a classifier, ``prob_<class>`` for each of :attr:`classes`, in
        float32, with a sum of 1; of a regression, :attr:`predictions`. In evaluation mode the same event always has the
        same score, whatever batch it is in.
        """

    @abstractmethod
    def latent(self, batch: Batch) -> Float[Tensor, "batch latent"]:
        """Returns where the events lie in the latent space."""

    def outputs(
        self,
        batch: Batch,
        *,
        draws: int = 0,  # noqa: ARG002  for those that draw
    ) -> tuple[dict[str, Float[Tensor, " batch"]], Float[Tensor, "batch latent"]]:
        """Returns scores and latents; a family that can share the work between them overrides this.

        Args:
            batch: The events.
            draws: Average the scores over so many draws from the posterior, the same for an event in any batch; 0 for
                the scores of :meth:`score`. A family that draws nothing has the same scores in any case.
        """
        return self.score(batch), self.latent(batch)

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Returns what can be looked at inside the model, in evaluation mode; every family has ``latent``.

        Where a family has them: ``mean`` and ``sigma`` of the posterior and a seeded draw from it before the flow,
        ``start``, and after the flow, ``latent_draw``; the reconstructed ``objects`` and ``event``.
        """
        return {"latent": self.latent(batch)}


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Returns the sum of the terms times their weights; the one place where weights are multiplied in.

    Raises:
        KeyError: A term has no weight.
    """
    total: Tensor | None = None
    for name, value in terms.items():
        part = value * weights[name]
        total = part if total is None else total + part
    assert total is not None, "a model has at least one term"
    return total


def weighted_mean(values: Float[Tensor, " batch"], weight: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Returns ``mean(weight * values)``.

    The weights are divided by nothing here: the stream has scaled them to a mean of 1 over the whole split, so that the
    average of a batch estimates the weighted mean of the split without bias.
    """
    return (weight * values).mean()
