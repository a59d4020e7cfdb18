"""Settings of the autoencoder family."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from honeyguide.data.augment_settings import AugmentationSettings
from honeyguide.settings import Settings
from models.vae.presets import PRESETS, Preset

Term = Literal[
    "reconstruction",
    "kl",
    "flow",
    "supervised_contrastive",
    "ntxent",
    "mmd",
    "adversary",
    "emd",
    "l1",
    "l2",
]
Size = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class VAEConfig(Settings):
    """An autoencoder (posterior ``none``) or a variational one (``gaussian``), with a flow or without."""

    family: Literal["vae"]
    """Name of the family."""
    preset: Preset | None = None
    """BEAD's name of a model: it fills in what is not given here, see ``models/vae/presets.py``."""
    encoder: Literal["dense", "conv", "deep_set"] = "dense"
    """``dense``: fully connected layers. ``conv``: 2-D convolutions over (object, feature). ``deep_set``: the same
    layers for every object, then attention pooling: the order of the objects has no effect. The decoder mirrors the
    encoder; that of ``deep_set`` is dense."""
    hidden: tuple[Size, ...] = (200, 100, 50)
    """Widths of the fully connected layers between the inputs (the convolutions, the set) and the latent space."""
    channels: tuple[Size, ...] = (32, 16, 8)
    """Channels of the convolutions; read by ``conv`` alone."""
    conv_padding: Literal["half", "one"] = "half"
    """Padding of the convolutions: ``half`` a kernel keeps the image's size, ``one`` cell on every side is BEAD's."""
    object_hidden: tuple[Size, ...] = (64, 64)
    """Widths of the layers that every object passes alone; read by ``deep_set`` alone."""
    attention_heads: int = Field(4, gt=0)
    """Weighted means over the objects that are taken; read by ``deep_set`` alone."""
    latent_dim: int = Field(15, gt=0)
    """Dimensions of the latent space."""
    posterior: Literal["none", "gaussian"] = "gaussian"
    """Distribution of the latent variables given an event; ``none`` makes a plain autoencoder."""
    prior: Literal["gaussian", "dirichlet"] = "gaussian"
    """Distribution that the posterior is drawn to. ``dirichlet``: latent vectors are positive with sum 1 (softmax of
    the posterior), and the divergence is that of Dirichlet distributions (Laplace bridge)."""
    prior_concentration: float = Field(5.0, gt=0)
    """Concentration of every dimension of the ``dirichlet`` prior."""
    flow: Literal[
        "none",
        "planar",
        "householder",
        "orthogonal_sylvester",
        "householder_sylvester",
        "triangular_sylvester",
        "iaf",
        "convolutional",
        "spline",
    ] = "none"
    """Normalising flow that gives the posterior its shape, with parameters from the encoder. ``iaf``: inverse
    autoregressive."""
    flow_steps: int = Field(4, gt=0)
    """Maps in the flow; read where there is a flow."""
    flow_vectors: int = Field(4, gt=0)
    """Orthogonal vectors of ``orthogonal_sylvester``, reflections of ``householder_sylvester``, in each step."""
    flow_hidden: int = Field(60, gt=0)
    """Width of the hidden layers of ``iaf`` and ``spline``."""
    flow_kernel: int = Field(7, gt=1)
    """Latent variables that a convolution of ``convolutional`` sees."""
    flow_bins: int = Field(8, gt=1, le=500)
    """Bins of a ``spline``."""
    flow_bound: float = Field(3.0, gt=0)
    """A ``spline`` acts between minus this and this."""
    activation: Literal["leaky_relu", "relu", "gelu", "silu", "tanh"] = "leaky_relu"
    """Non-linearity between the layers."""
    normalization: Literal["none", "batch", "layer"] = "none"
    """Normalisation after each hidden layer. With ``conv``, ``layer`` normalises channels and positions together;
    single objects of ``deep_set`` have ``layer`` for ``batch``."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden values that are set to 0 during training."""
    reconstruction: Literal["mse", "l1", "huber"] = "mse"
    """Loss of one reconstructed entry."""
    terms: dict[str, Weight] = Field(default_factory=dict, validate_default=True)
    """Weight of each loss term. What is not given stays at ``{reconstruction: 1.0, kl: 0.001}`` (without ``kl`` for a
    plain autoencoder), and ``flow``, where there is one, at the weight of ``kl``: their sum is the divergence from the
    prior. A term of weight 0 is computed and logged, but not trained on.

    Others are there where they are named. On the latent vectors that are decoded, within a batch:
    ``supervised_contrastive`` draws events of one generator together and pushes generators apart (arXiv:2004.11362),
    ``ntxent`` draws two augmented views of an event together and pushes events apart (arXiv:2002.05709), ``mmd`` is the
    maximum mean discrepancy between generators, and ``adversary`` the cross-entropy of a classifier of generators that
    is trained along, while the encoder is trained against it (arXiv:1505.07818). ``emd``: earth mover's distance
    between ``emd_feature`` of the objects and of the reconstructed ones. ``l1``, ``l2``: sums of ``|w|``, ``w²`` over
    all weights w but the adversary's.

    ``reconstruction``, ``kl``, ``flow`` and ``emd`` are scores too, and their weighted sum is the score ``total``. The
    validated loss is the weighted sum of all terms but ``adversary``, whose classifier's failure is no gain by
    itself."""
    contrastive_temperature: float = Field(0.07, gt=0, allow_inf_nan=False)
    """What cosines are divided by in ``supervised_contrastive`` and ``ntxent``."""
    augmentation: AugmentationSettings = AugmentationSettings()
    """How the views of ``ntxent`` differ from the event."""
    adversary_strength: float = Field(1.0, ge=0, allow_inf_nan=False)
    """How much more than the adversary itself the encoder is moved by the ``adversary`` term, against it."""
    emd_feature: str = "eta"
    """Feature of the objects that ``emd`` compares."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        # behind this validator, strict JSON mode no longer takes an array for a tuple
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        name = given.get("preset")
        # what is no name is left to the field's own check
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given

    @field_validator("terms", mode="before")
    @classmethod
    def _complete_terms(cls, given: Any, info: ValidationInfo) -> Any:
        # one key given by an override must not remove the others
        if not isinstance(given, dict) or not {"posterior", "flow"} <= set(info.data):
            return given
        _check_names(given)
        defaults = {"reconstruction": 1.0}
        if info.data["posterior"] != "none":
            defaults["kl"] = 1e-3
        if info.data["flow"] != "none":
            defaults["flow"] = given.get("kl", 1e-3)
        return defaults | given

    @model_validator(mode="after")
    def _possible(self) -> VAEConfig:
        if self.posterior == "none":
            self._check_plain()
        if self.flow == "none" and "flow" in self.terms:
            raise ValueError("there is no flow term without a flow (flow: none): remove it, or choose a flow")
        if not any(self.terms.values()):
            raise ValueError("every term has weight 0: there is nothing to train on")
        if self.encoder == "conv" and not self.channels:
            raise ValueError("encoder: conv needs at least one entry in channels")
        if self.prior == "dirichlet":
            self._check_dirichlet()
        if self.flow == "orthogonal_sylvester" and self.flow_vectors > self.latent_dim:
            raise ValueError(
                f"flow: orthogonal_sylvester can't have {self.flow_vectors} orthogonal vectors (flow_vectors) in "
                f"{self.latent_dim} dimensions (latent_dim)"
            )
        return self

    def _check_plain(self) -> None:
        if "kl" in self.terms:
            raise ValueError(
                "a plain autoencoder (posterior: none) has no kl term: remove it, or set posterior: gaussian"
            )
        if self.flow != "none":
            raise ValueError(
                f"a plain autoencoder (posterior: none) has no posterior for flow: {self.flow}; set posterior: gaussian"
            )
        if self.prior != "gaussian":
            raise ValueError(
                f"a plain autoencoder (posterior: none) is drawn to no prior: {self.prior}; set posterior: gaussian"
            )

    def _check_dirichlet(self) -> None:
        if self.flow != "none":
            raise ValueError(
                f"prior: dirichlet and flow: {self.flow} exclude each other: the divergence is known for a posterior "
                "without flow; set flow: none or prior: gaussian"
            )
        if self.latent_dim < 2:
            raise ValueError("prior: dirichlet needs latent_dim of 2 or more: one share of 1 is no variable")


def _check_names(terms: dict[Any, Any]) -> None:
    unknown = sorted(str(name) for name in terms if name not in get_args(Term))
    if unknown:
        raise ValueError(f"there is no term {', '.join(unknown)}: allowed are {', '.join(get_args(Term))}")


CONFIG = VAEConfig
