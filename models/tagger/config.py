"""Settings of the tagger family."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from honeyguide.settings import Settings
from models.tagger.presets import PRESETS, Preset
from models.tagger.regression_settings import RegressionSettings
from models.tagger.transformer_settings import TransformerSettings

Size = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Term = Literal["cross_entropy", "accuracy", "l1", "l2", "regression", "quantile"]


class SetSettings(Settings):
    """How one set of objects is read; read by ``deepjet``."""

    layers: tuple[Size, ...] | None = Field(None, min_length=1)
    """Widths of the layers that every object passes alone; null for those of a set of that name in DeepJet:
    ``[32, 16, 4]`` of ``npf``, ``[64, 32, 32, 8]`` of any other."""
    recurrent: Size | None = None
    """Width of the recurrent layer; null for that of a set of that name in DeepJet: 150 of ``cpf``, 50 of any other."""

    def resolved(self, name: str) -> tuple[tuple[int, ...], int]:
        """Returns the widths of the layers and of the recurrent layer for the set ``name``."""
        layers = (32, 16, 4) if name == "npf" else (64, 32, 32, 8)
        return self.layers or layers, self.recurrent or (150 if name == "cpf" else 50)


class DeepJetTransformerSettings(Settings):
    """Numbers and widths of the layers of ``deepjet_transformer``; the defaults are the published ones."""

    embedding: tuple[Size, ...] = Field((64, 128, 128), min_length=1)
    """Widths of the layers that every object passes alone; the last one is that of the blocks."""
    num_blocks: Size = 3
    """Blocks of attention among all objects."""
    num_heads: Size = 8
    """Heads of attention of a block, which share its width equally."""
    num_dense: Size = 3
    """Fully connected layers after the pooling, each as wide as what is pooled and the features of the row."""

    @model_validator(mode="after")
    def _possible(self) -> DeepJetTransformerSettings:
        if self.embedding[-1] % self.num_heads:
            raise ValueError(f"{self.num_heads} heads can't share a width of {self.embedding[-1]} equally")
        return self


class TaggerConfig(Settings):
    """A classifier of rows (jets) by their truth."""

    family: Literal["tagger"]
    """Name of the family."""
    preset: Preset | None = None
    """Name of a tagger: it fills in what is not given here, see ``models/tagger/presets.py``."""
    network: Literal["deepjet", "mlp", "particlenet", "particle_transformer", "deepjet_transformer"] = "deepjet"
    """``deepjet``: layers for every object alone, then a recurrent layer over the objects of each set, then fully
    connected layers (arXiv:2008.10519). ``mlp``: fully connected layers over everything side by side. ``particlenet``:
    edge convolutions over the objects of all sets together (arXiv:1902.08570). ``particle_transformer``: attention
    between the objects of all sets, with a bias made of their four-momenta (arXiv:2202.03772).
    ``deepjet_transformer``: attention among them without such a bias (arXiv:2406.08590)."""
    classes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Name of a class to the truths that are in it, such as ``b: [b, bb, lepb]``; empty: every truth of the inputs is a
    class of its own."""
    unclassified: Literal["error", "drop"] = "error"
    """Truths of the inputs that are in no class: an error that names them, or ``drop``, which trains on none of their
    rows. They are scored in any case."""
    sets: dict[str, SetSettings] = Field(default_factory=dict)
    """Sets of objects that are read in another way than DeepJet's; read by ``deepjet`` alone."""
    embedding: Size | None = 32
    """Features that objects of any set get before the first edge convolution; null: their own ones as they are, as
    published, for inputs of one set. Read by ``particlenet``."""
    edge_layers: tuple[Annotated[tuple[Size, ...], Field(min_length=1)], ...] = Field(
        ((64, 64, 64), (128, 128, 128), (256, 256, 256)), min_length=1
    )
    """Widths of the maps of each edge convolution; read by ``particlenet``."""
    num_neighbours: Size = 16
    """Neighbours of an object; read by ``particlenet``."""
    fusion: bool = False
    """Whether a further layer takes the outputs of all edge convolutions side by side, as the authors' later networks
    do, and not those of the last one alone; read by ``particlenet``."""
    coordinates: tuple[str, ...] = Field(("deta", "dphi"), min_length=1)
    """Columns of all sets in which objects are near each other, for the first edge convolution; read by
    ``particlenet``."""
    transformer: TransformerSettings = Field(default_factory=TransformerSettings)
    """The blocks of ``particle_transformer``."""
    deepjet_transformer: DeepJetTransformerSettings = Field(default_factory=DeepJetTransformerSettings)
    """Layers of ``deepjet_transformer``, which reads this in place of ``hidden``."""
    bias: bool = True
    """``false``: no bias and no affine term anywhere in the network, as one-class learning needs it (L. Ruff et al.,
    ICML 2018, proposition 2). Not read by ``deepjet`` and ``mlp``."""
    hidden: tuple[Size, ...] = (200, 100, 100, 100, 100, 100, 100, 100)
    """Widths of the fully connected layers; the last one is the latent space. The default is DeepJet's. The Particle
    Transformer as published has none: its latent space is what the class token has read."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the hidden values that are set to 0 during training."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of a row's truth that is spread over all classes (arXiv:1512.00567)."""
    classify: bool = True
    """false: there are no classes, and the model predicts the targets of ``regression`` alone."""
    regression: dict[str, RegressionSettings] = Field(default_factory=dict)
    """Targets of the inputs (``preprocess.targets``) that are predicted beside the classes, and how."""
    terms: dict[str, Weight] = Field(default_factory=dict, validate_default=True)
    """Weight of each loss term; what is not given stays at ``{cross_entropy: 1.0}``, and 1 for ``regression`` and
    ``quantile`` of the targets of ``regression``, in units of the scaled targets. ``l1``, ``l2``: sums of ``|w|``,
    ``w²`` over all weights w. ``accuracy``, the share of rows whose class has the largest probability, is logged, and
    has weight 0."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # behind this validator, strict JSON mode no longer takes an array for a tuple
        given = {key: _tuples(value) for key, value in given.items()}
        name = given.get("preset")
        # what is no name is left to the field's own check
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given

    @field_validator("terms", mode="before")
    @classmethod
    def _complete_terms(cls, given: Any, info: ValidationInfo) -> Any:
        # one key given by an override must not remove the others
        if not isinstance(given, dict):
            return given
        unknown = [str(name) for name in given if name not in get_args(Term)]
        if unknown:
            raise ValueError(f"there is no term {', '.join(unknown)}: allowed are {', '.join(get_args(Term))}")
        targets: dict[str, RegressionSettings] = info.data.get("regression", {})
        terms = {"cross_entropy": 1.0, "accuracy": 0.0} if info.data.get("classify", True) else {}
        terms |= {"regression": 1.0} if targets else {}
        terms |= {"quantile": 1.0} if any(item.quantiles for item in targets.values()) else {}
        empty = [name for name in given if name not in (*terms, "l1", "l2")]
        if empty:
            raise ValueError(f"nothing makes the terms {', '.join(empty)}: see classify and regression")
        return terms | given

    @model_validator(mode="after")
    def _possible(self) -> TaggerConfig:
        if not self.hidden and self.network not in ("particle_transformer", "deepjet_transformer"):
            raise ValueError(f"hidden: {self.network} needs a fully connected layer")
        if not self.bias and self.network in ("deepjet", "mlp"):
            raise ValueError(f"bias: {self.network} has no form without biases")
        if len(self.classes) == 1:
            raise ValueError("a classifier needs two or more classes")
        empty = [name for name, truths in self.classes.items() if not truths]
        if empty:
            raise ValueError(f"classes without a truth: {', '.join(empty)}")
        counts = Counter(truth for truths in self.classes.values() for truth in truths)
        twice = [truth for truth, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"truths in more than one class, or twice in one: {', '.join(twice)}")
        if not self.classify and not self.regression:
            raise ValueError("without classes (classify: false) a tagger needs targets in regression")
        if not self.classify and self.classes:
            raise ValueError("classify: false, and classes are given")
        if self.terms.get("accuracy"):
            raise ValueError("accuracy has no gradient to train on: its weight is 0")
        if not any(self.terms.values()):
            raise ValueError("every term has weight 0: there is nothing to train on")
        return self


def _tuples(value: Any) -> Any:
    """Returns the value with every list in it as a tuple."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


CONFIG = TaggerConfig
