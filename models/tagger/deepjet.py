"""The network of DeepJet."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec, ObjectSet
from honeyguide.errors import ConfigError, nearest_name
from honeyguide.nn.masked import MaskedLSTM, ObjectLayers, dense_blocks, make_norm
from models.tagger.config import SetSettings, TaggerConfig


class SetReader(nn.Module):
    """Reads one set of objects into one vector: layers for every object alone, then a recurrent layer."""

    def __init__(self, item: ObjectSet, settings: SetSettings, *, dropout: float) -> None:
        super().__init__()
        widths, self.num_outputs = settings.resolved(item.name)
        self.name = item.name
        self.layers = ObjectLayers(len(item.columns), widths, dropout=dropout)
        self.recurrent = MaskedLSTM(widths[-1], self.num_outputs)
        self.norm = make_norm(self.num_outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns one vector per row."""
        objects = batch.sets[self.name]
        state = self.recurrent(self.layers(objects.features, objects.mask), objects.mask)
        values: Tensor = self.dropout(self.norm(state))
        return values


class DeepJet(nn.Module):
    """DeepJet (E. Bols et al., JINST 15 (2020) P12012, arXiv:2008.10519), for any sets of objects.

    Every set has layers for each object alone (64, 32, 32, 8 values for charged candidates and vertices, 32, 16, 4 for
    neutral candidates) and a recurrent layer (150 for charged candidates, 50 for the others), which reads the objects
    from the last to the first: the one that comes first in the inputs has the last word. What comes of them and the
    features of the row pass fully connected layers, one of 200 and seven of 100. All inputs are normalised over the
    batch, and so is what comes out of each layer with its ReLU (but for the last one of an object) and out of the
    recurrent layers; then comes dropout of 0.1. So it stands in the authors' published code, with its rates and widths.

    Other than there, empty slots are masked, wherever they are: they enter no mean, no variance, and are not read.
    """

    def __init__(self, config: TaggerConfig, spec: InputSpec) -> None:
        super().__init__()
        names = [item.name for item in spec.sets]
        for name in config.sets:
            if name not in names:
                raise ConfigError(
                    f"the inputs have no set {name!r}",
                    where=f"model.sets.{name}",
                    allowed=", ".join(names),
                    nearest=nearest_name(name, names),
                )
        readers = [
            SetReader(item, config.sets.get(item.name, SetSettings()), dropout=config.dropout) for item in spec.sets
        ]
        self.readers = nn.ModuleList(readers)
        self.norm = make_norm(spec.num_event_features) if spec.num_event_features else None
        num_read = spec.num_event_features + sum(reader.num_outputs for reader in readers)
        self.dense = dense_blocks([num_read, *config.hidden], dropout=config.dropout)
        self.num_outputs = config.hidden[-1]

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        parts: list[Tensor] = [] if self.norm is None else [self.norm(batch.event)]
        parts += [reader(batch) for reader in self.readers]
        hidden: Tensor = self.dense(torch.cat(parts, dim=1))
        return hidden
