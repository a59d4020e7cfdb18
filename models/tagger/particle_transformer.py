"""The network of the Particle Transformer."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError
from honeyguide.nn.attention import BlockStyle
from honeyguide.nn.particle_transformer import ParticleTransformer, initialise_linear
from models.tagger.config import TaggerConfig


class ParticleTransformerNetwork(nn.Module):
    """The Particle Transformer (arXiv:2202.03772) over the objects of all sets, then fully connected layers, if any."""

    def __init__(self, config: TaggerConfig, spec: InputSpec) -> None:
        super().__init__()
        if not spec.sets:
            raise ConfigError("the Particle Transformer needs sets of objects, and these inputs have none",
                              where="preprocess.sets")  # fmt: skip
        for item in spec.sets:
            if not item.vectors:
                raise ConfigError(
                    f"the Particle Transformer needs four-momenta, and the set '{item.name}' has none",
                    where="model.network",
                    hint=f"preprocess.sets.{item.name}.vectors: [px, py, pz, energy], the names of its columns",
                )
        settings = config.transformer
        names = ("version", "num_heads", "expansion", "dropout", "drop_path", "layer_scale", "pair_activation")
        self.transformer = ParticleTransformer(
            [len(item.columns) for item in spec.sets],
            num_row_features=spec.num_event_features,
            style=BlockStyle(**{name: getattr(settings, name) for name in names}, bias=config.bias),
            num_layers=settings.num_layers,
            num_class_layers=settings.num_class_layers,
            embedding=settings.embedding,
            pair_layers=settings.pair_layers,
        )
        self.names = [item.name for item in spec.sets]
        layers: list[nn.Module] = []
        self.num_outputs = self.transformer.num_outputs
        for width in config.hidden:
            linear = nn.Linear(self.num_outputs, width, bias=config.bias)
            layers += [linear, nn.ReLU(), nn.Dropout(config.dropout)]
            self.num_outputs = width
        self.dense = nn.Sequential(*layers)
        self.dense.apply(initialise_linear)

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        hidden: Tensor = self.dense(self.transformer([batch.sets[name] for name in self.names], batch.event))
        return hidden

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch head ..."]]:
        """Returns the attention weights of each block."""
        return self.transformer.attention_maps([batch.sets[name] for name in self.names], batch.event)

    def initialise_classifier(self, layer: nn.Linear) -> None:
        """Sets the weights of the layer that makes logits, as the authors do."""
        initialise_linear(layer)
