"""DeepJetTransformer as a tagger's settings say."""

from __future__ import annotations

from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.deepjet_transformer import DeepJetTransformer, HeavyFlavourLayers
from models.tagger.config import TaggerConfig


def make_deepjet_transformer(config: TaggerConfig, spec: InputSpec) -> DeepJetTransformer:
    """Returns the network."""
    layers = HeavyFlavourLayers(**dict(config.deepjet_transformer))
    return DeepJetTransformer(spec, layers=layers, dropout=config.dropout, bias=config.bias)
