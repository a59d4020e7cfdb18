"""Settings of networks of transformer blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from honeyguide.settings import Settings

Size = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class TransformerSettings(Settings):
    """The blocks of a Particle Transformer; the defaults are those of the publication (arXiv:2202.03772)."""

    version: Literal[1, 2, 3] = 1
    """1: as published. 2: normalisation in front of attention and hidden layer alone, and a gated hidden layer. 3: as
    2, with root-mean-square normalisation, linear maps without a bias, and dropped paths in place of dropout. 2 and 3
    are later versions of the authors' own code."""
    num_heads: Size = 8
    """Heads of the attention; their number divides the last width of ``embedding``."""
    num_layers: Size = 8
    """Blocks in which objects see each other."""
    num_class_layers: int = Field(2, ge=0)
    """Blocks in which the class token reads the objects; 0 for the mean over the objects in place of a token."""
    embedding: tuple[Size, ...] = Field((128, 512, 128), min_length=1)
    """Widths of the layers that every object passes alone; the last one is the width of the blocks."""
    pair_layers: tuple[Size, ...] = (64, 64, 64)
    """Widths of the layers that make an attention bias of the features of each pair of objects."""
    pair_activation: bool = True
    """Whether the bias of a pair passes GELU at last, as published; ``false`` is what weaver-core does unless told
    otherwise (``use_pre_activation_pair``). Weights do not say which of the two they were trained with."""
    expansion: Size = 4
    """Values of the hidden layer of a block for one of the object."""
    dropout: Share | None = None
    """Share of attention weights and of values in blocks of objects that are set to 0 during training; null for that of
    the version: 0.1, of version 3 none. Class blocks have none."""
    drop_path: Share | None = None
    """Share of the jets that pass a block by during training; null for that of the version: none, of version 3 0.1."""
    layer_scale: Annotated[float, Field(gt=0)] | None = None
    """Factor that the outputs of each block start with, one for each value; null for none."""

    @model_validator(mode="after")
    def _divisible(self) -> TransformerSettings:
        if self.embedding[-1] % self.num_heads:
            raise ValueError(f"num_heads: {self.num_heads} heads do not divide a width of {self.embedding[-1]}")
        return self
