"""An adversary that tries to tell generators apart by their latent vectors."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.losses.invariance import reverse_gradient
from honeyguide.nn.layers import LayerStyle, dense_stack


class GeneratorAdversary(nn.Module):
    """A classifier of generators behind a gradient reversal (arXiv:1505.07818).

    Minimising its loss trains it to tell generators apart, and what made the latent vectors to prevent that.

    Args:
        latent_dim: Dimensions of the latent space.
        num_generators: Number of generators.
        hidden: Widths of the layers between.
        style: What stands between the linear maps.
    """

    def __init__(
        self, latent_dim: int, num_generators: int, *, hidden: Sequence[int] = (64, 64), style: LayerStyle | None = None
    ) -> None:
        super().__init__()
        widths = (latent_dim, *hidden)
        self.classifier = nn.Sequential(
            dense_stack(widths, style or LayerStyle()), nn.Linear(widths[-1], num_generators)
        )

    def forward(
        self,
        latent: Float[Tensor, "batch latent"],
        generator: Int[Tensor, " batch"],
        *,
        strength: float | Float[Tensor, ""],
    ) -> Float[Tensor, " batch"]:
        """Returns the cross-entropy of the adversary's guess for each event, shape (batch,).

        Args:
            latent: Latent vectors.
            generator: The true codes.
            strength: What the gradient is multiplied by, and reversed, on its way into the latents; the adversary's
                own gradient is what it is.
        """
        logits = self.classifier(reverse_gradient(latent, strength))
        return functional.cross_entropy(logits, generator, reduction="none")
