"""Settings of the autoencoder family."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from honeyguide.settings import Settings

Term = Literal["reconstruction", "kl"]
Size = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class VAEConfig(Settings):
    """An autoencoder (posterior ``none``) or a variational one (``gaussian``)."""

    family: Literal["vae"]
    """Name of the family."""
    encoder: Literal["dense", "conv"] = "dense"
    """``dense``: fully connected layers. ``conv``: 2-D convolutions over (object, feature). The decoder mirrors it."""
    hidden: tuple[Size, ...] = (200, 100, 50)
    """Widths of the fully connected layers between the inputs (or the convolutions) and the latent space."""
    channels: tuple[Size, ...] = (32, 16, 8)
    """Channels of the convolutions; read by ``conv`` alone."""
    latent_dim: int = Field(15, gt=0)
    """Dimensions of the latent space."""
    posterior: Literal["none", "gaussian"] = "gaussian"
    """Distribution of the latent variables given an event; ``none`` makes a plain autoencoder."""
    activation: Literal["leaky_relu", "relu", "gelu", "silu", "tanh"] = "leaky_relu"
    """Non-linearity between the layers."""
    normalization: Literal["none", "batch", "layer"] = "none"
    """Normalisation after each hidden layer. With ``conv``, ``layer`` normalises channels and positions together."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden values that are set to 0 during training."""
    reconstruction: Literal["mse", "l1", "huber"] = "mse"
    """Loss of one reconstructed entry."""
    terms: dict[str, Weight] = Field(default_factory=dict, validate_default=True)
    """Weight of each loss term. What is not given stays at ``{reconstruction: 1.0, kl: 0.001}`` (without ``kl`` for a
    plain autoencoder); a term of weight 0 is computed and logged, but not trained on."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @field_validator("terms", mode="before")
    @classmethod
    def _complete_terms(cls, given: Any, info: ValidationInfo) -> Any:
        # one key given by an override must not remove the others
        if not isinstance(given, dict) or "posterior" not in info.data:
            return given
        _check_names(given)
        defaults = {"reconstruction": 1.0}
        if info.data["posterior"] != "none":
            defaults["kl"] = 1e-3
        return defaults | given

    @model_validator(mode="after")
    def _possible(self) -> VAEConfig:
        if self.posterior == "none" and "kl" in self.terms:
            raise ValueError(
                "a plain autoencoder (posterior: none) has no kl term: remove it, or set posterior: gaussian"
            )
        if not any(self.terms.values()):
            raise ValueError("every term has weight 0: there is nothing to train on")
        if self.encoder == "conv" and not self.channels:
            raise ValueError("encoder: conv needs at least one entry in channels")
        return self


def _check_names(terms: dict[Any, Any]) -> None:
    unknown = sorted(str(name) for name in terms if name not in get_args(Term))
    if unknown:
        raise ValueError(f"there is no term {', '.join(unknown)}: allowed are {', '.join(get_args(Term))}")


CONFIG = VAEConfig
