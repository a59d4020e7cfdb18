"""What an autoencoder is composed of, from its config."""

from __future__ import annotations

from honeyguide.data.augment import check_augmentation
from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError
from honeyguide.nn.convolution import plan_convolutions
from honeyguide.nn.decoders import ConvDecoder, DenseDecoder
from honeyguide.nn.encoders import ConvEncoder, DeepSetEncoder, DenseEncoder
from honeyguide.nn.flows.build import FlowSizes
from honeyguide.nn.layers import LayerStyle
from models.vae.config import VAEConfig


def encoder_and_decoder(
    config: VAEConfig, spec: InputSpec
) -> tuple[DenseEncoder | DeepSetEncoder, DenseDecoder] | tuple[ConvEncoder, ConvDecoder]:
    """Returns the encoder and the decoder that the config names."""
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


def flow_sizes(config: VAEConfig) -> FlowSizes:
    """Returns the sizes of the flow."""
    return FlowSizes(
        steps=config.flow_steps,
        vectors=config.flow_vectors,
        hidden=config.flow_hidden,
        kernel=config.flow_kernel,
        bins=config.flow_bins,
        bound=config.flow_bound,
    )


def check_terms(config: VAEConfig, spec: InputSpec) -> None:
    """Checks that the inputs have what the terms need.

    Raises:
        ConfigError: There is one generator alone, no view can be made, or a column is missing.
    """
    for name in ("supervised_contrastive", "mmd", "adversary"):
        if name in config.terms and len(spec.generators) < 2:
            raise ConfigError(
                f"the term {name} compares generators, and all events are of one",
                where=f"model.terms.{name}",
                got=", ".join(spec.generators),
                hint="remove the term, or add samples of another generator",
            )
    if "ntxent" in config.terms:
        check_augmentation(spec, config.augmentation)
    if "emd" in config.terms:
        spec.continuous_column(config.emd_feature, where="model.emd_feature")
