"""ParticleNet as a tagger's settings say."""

from __future__ import annotations

from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.particle_net import EdgeLayers, ParticleNet
from models.tagger.config import TaggerConfig


def make_particlenet(config: TaggerConfig, spec: InputSpec) -> ParticleNet:
    """Returns the network."""
    return ParticleNet(
        spec,
        embedding=config.embedding,
        coordinates=config.coordinates,
        edges=EdgeLayers(config.edge_layers, config.num_neighbours, config.fusion),
        hidden=config.hidden,
        dropout=config.dropout,
        bias=config.bias,
    )
