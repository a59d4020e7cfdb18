"""Sylvester flows: orthogonal, Householder and triangular."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from honeyguide.nn.flows.base import Amortiser, Flow
from honeyguide.nn.flows.householder import reflect


class SylvesterFlow(Flow[Tensor]):
    """z' = z + Q R₁ tanh(R₂ Qᵀz + b), equation 13 of arXiv:1803.05649.

    R₁ and R₂ are upper triangular with diagonals in (-1, 1), so that the determinant is the product of
    1 + tanh'(..) R₁ₖₖ R₂ₖₖ > 0 (its equation 14). The columns of Q are orthonormal; subclasses say how.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain.
        rank: Columns of Q.
        num_orthogonal: Parameters that Q is made of, in each step.
    """

    upper: Tensor

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, rank: int, num_orthogonal: int) -> None:
        super().__init__(dim, num_steps=num_steps)
        self.rank = rank
        num_upper = rank * (rank - 1) // 2
        self.amortiser = Amortiser(
            context_dim,
            num_steps=num_steps,
            sizes=(rank, num_upper, rank, num_upper, rank, num_orthogonal),
            num_amplitudes=rank + num_upper,
        )
        row, column = torch.triu_indices(rank, rank, offset=1)
        self.register_buffer("upper", row * rank + column, persistent=False)

    @abstractmethod
    def project(self, z: Float[Tensor, "batch latent"], q: Float[Tensor, "batch _"]) -> Float[Tensor, "batch rank"]:
        """Returns Qᵀz, where the parameters q make Q."""

    @abstractmethod
    def lift(self, y: Float[Tensor, "batch rank"], q: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Returns Qy, where the parameters q make Q."""

    def prepare(self, q: Float[Tensor, "batch _"]) -> Float[Tensor, "batch ..."]:
        """Returns what :meth:`project` and :meth:`lift` take for q."""
        return q

    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns the diagonals and upper triangles of R₁ and R₂, b, and what makes Q, of each step."""
        parameters: Sequence[Tensor] = self.amortiser(context)
        return parameters

    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after one step, and its log-determinant."""
        first, upper_first, second, upper_second, b, q = self.amortiser.split(parameters)
        first, second, q = torch.tanh(first), torch.tanh(second), self.prepare(q)
        inner = self._triangular(second, upper_second, self.project(z, q)) + b
        activation = torch.tanh(inner)
        log_det = torch.log1p((1 - activation.square()) * first * second).sum(1)
        return z + self.lift(self._triangular(first, upper_first, activation), q), log_det

    def _triangular(self, diagonal: Tensor, upper: Tensor, vector: Tensor) -> Tensor:
        """Returns an upper triangular matrix times a vector."""
        matrix = diagonal.new_zeros(len(diagonal), self.rank * self.rank)
        matrix = matrix.index_copy(1, self.upper, upper).view(-1, self.rank, self.rank)
        return diagonal * vector + torch.einsum("bij,bj->bi", matrix, vector)


class OrthogonalSylvesterFlow(SylvesterFlow):
    """Q is made from a free matrix by Gram-Schmidt.

    The paper iterates until Q is orthogonal enough; the determinant is exact only for a Q that is orthogonal to
    rounding, which Gram-Schmidt, done twice, gives in a fixed number of operations.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain.
        num_vectors: Columns of Q, at most ``dim``.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, num_vectors: int) -> None:
        super().__init__(
            dim, context_dim=context_dim, num_steps=num_steps, rank=num_vectors, num_orthogonal=num_vectors * dim
        )

    def prepare(self, q: Float[Tensor, "batch _"]) -> Float[Tensor, "batch rank latent"]:
        """Returns Qᵀ."""
        rows: list[Tensor] = []
        for vector in q.chunk(self.rank, dim=1):
            row = functional.normalize(vector, dim=1)
            if rows:
                before = torch.stack(rows, 1)
                for _ in range(2):
                    shadow = torch.einsum("bki,bk->bi", before, torch.einsum("bki,bi->bk", before, row))
                    row = functional.normalize(row - shadow, dim=1)
            rows.append(row)
        return torch.stack(rows, 1)

    def project(
        self, z: Float[Tensor, "batch latent"], q: Float[Tensor, "batch rank latent"]
    ) -> Float[Tensor, "batch rank"]:
        """Returns Qᵀz."""
        return torch.einsum("bki,bi->bk", q, z)

    def lift(
        self, y: Float[Tensor, "batch rank"], q: Float[Tensor, "batch rank latent"]
    ) -> Float[Tensor, "batch latent"]:
        """Returns Qy."""
        return torch.einsum("bki,bk->bi", q, y)


class HouseholderSylvesterFlow(SylvesterFlow):
    """Q is a product of reflections.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain.
        num_vectors: Reflections in Q.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, num_vectors: int) -> None:
        super().__init__(dim, context_dim=context_dim, num_steps=num_steps, rank=dim, num_orthogonal=num_vectors * dim)
        self.num_vectors = num_vectors

    def project(self, z: Float[Tensor, "batch latent"], q: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch rank"]:
        """Returns Qᵀz: the reflections, first to last."""
        for normal in q.chunk(self.num_vectors, dim=1):
            z = reflect(z, normal)
        return z

    def lift(self, y: Float[Tensor, "batch rank"], q: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Returns Qy: the reflections, last to first."""
        for normal in reversed(q.chunk(self.num_vectors, dim=1)):
            y = reflect(y, normal)
        return y


class TriangularSylvesterFlow(SylvesterFlow):
    """Q is the identity, and in odd steps the reversal of the axes."""

    alternates = True

    def __init__(self, dim: int, *, context_dim: int, num_steps: int) -> None:
        super().__init__(dim, context_dim=context_dim, num_steps=num_steps, rank=dim, num_orthogonal=0)

    def project(self, z: Float[Tensor, "batch latent"], q: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch rank"]:
        """Returns z."""
        del q
        return z

    def lift(self, y: Float[Tensor, "batch rank"], q: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Returns y."""
        del q
        return y
