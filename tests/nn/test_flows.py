"""Every flow: log-determinants against autograd, inverses, a start near the identity, gradients; its own equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from honeyguide.nn.flows.base import Flow, InvertibleFlow, above_minus_one
from honeyguide.nn.flows.build import FlowSizes, make_flow
from honeyguide.nn.flows.spline import rational_quadratic_spline
from honeyguide.nn.flows.sylvester import HouseholderSylvesterFlow, OrthogonalSylvesterFlow

INVERTIBLE = ("householder", "iaf", "convolutional", "spline")
NAMES = ("planar", "orthogonal_sylvester", "householder_sylvester", "triangular_sylvester", *INVERTIBLE)
DIM, CONTEXT, BATCH = 5, 7, 6
SIZES = FlowSizes(steps=4, vectors=3, hidden=12, kernel=3, bins=6, bound=2.5)
for_all_flows = pytest.mark.parametrize("name", NAMES)


def make(name: str, *, dim: int = DIM, trained: bool = False, sizes: FlowSizes = SIZES) -> Flow:
    """A new flow in double precision, or one with weights as far from the start as training brings them."""
    torch.manual_seed(1)
    flow = make_flow(name, dim, context_dim=CONTEXT, sizes=sizes).double()
    if trained:
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.copy_(0.3 * torch.randn_like(parameter))
    return flow


def draw(dim: int = DIM, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(BATCH, dim, dtype=torch.float64), torch.randn(BATCH, CONTEXT, dtype=torch.float64)


def jacobians(flow: Flow, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """The Jacobian of every event by automatic differentiation."""
    rows = [
        torch.autograd.functional.jacobian(lambda v, c=c: flow(v[None], c[None])[0][0], v)
        for v, c in zip(z, context, strict=True)
    ]
    return torch.stack(rows)


@for_all_flows
@pytest.mark.parametrize("dim", [1, 2, DIM])
@pytest.mark.parametrize("trained", [False, True])
def test_log_determinant_is_that_of_the_jacobian(name, dim, trained):
    sizes = FlowSizes(steps=3, vectors=min(dim, 3), hidden=12, kernel=3, bins=6, bound=2.5)
    flow, (z, context) = make(name, dim=dim, trained=trained, sizes=sizes), draw(dim)
    expected = torch.linalg.slogdet(jacobians(flow, z, context))
    moved, log_det = flow(z, context)
    assert moved.shape == z.shape
    assert log_det.shape == (BATCH,)
    torch.testing.assert_close(log_det, expected.logabsdet, rtol=1e-9, atol=1e-9)
    if name != "householder":
        assert (expected.sign > 0).all()
    if trained and name != "householder" and dim == DIM:
        assert log_det.abs().max() > 0.1


@pytest.mark.parametrize("name", INVERTIBLE)
@pytest.mark.parametrize("steps", [1, 4])
def test_inverse_undoes_the_flow(name, steps):
    flow, (z, context) = make(name, trained=True, sizes=FlowSizes(**{**vars(SIZES), "steps": steps})), draw()
    assert isinstance(flow, InvertibleFlow)
    moved, _ = flow(z, context)
    assert (moved - z).abs().max() > 0.1
    torch.testing.assert_close(flow.inverse(moved, context), z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow(flow.inverse(z, context), context)[0], z, rtol=1e-9, atol=1e-9)


@for_all_flows
def test_begins_near_the_identity(name):
    flow, (z, context) = make(name), draw()
    moved, log_det = flow(z, context)
    assert (moved - z).abs().max() < 0.15
    assert log_det.abs().max() < 0.15


@for_all_flows
def test_gradient_reaches_every_parameter_from_z_and_is_finite_in_float32(name):
    flow, (z, context) = make(name).float(), draw()
    moved, log_det = flow(z.float(), context.float())
    (moved.square().sum() + log_det.sum()).backward()
    for label, parameter in flow.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().max() > 0, label


@for_all_flows
def test_depends_on_the_context_and_on_its_own_event_alone(name):
    flow, (z, context) = make(name, trained=True), draw()
    moved, log_det = flow(z, context)
    other, other_log_det = flow(z, context.roll(1, 0))
    assert not torch.isclose(moved, other).all(1).any()
    alone, alone_log_det = flow(z[2:3], context[2:3])
    torch.testing.assert_close(alone, moved[2:3])
    torch.testing.assert_close(alone_log_det, log_det[2:3])
    if name != "householder":
        assert not torch.isclose(log_det, other_log_det).any()


@for_all_flows
def test_every_axis_depends_on_every_other_after_two_steps(name):
    sizes = FlowSizes(**{**vars(SIZES), "steps": 2, "vectors": DIM, "hidden": 30, "kernel": DIM})
    flow = make(name, trained=True, sizes=sizes)
    z, context = 0.5 * draw()[0], draw()[1]
    assert (jacobians(flow, z, context).abs().amax(0) > 1e-6).all()


@for_all_flows
def test_extreme_contexts_stay_finite(name):
    flow, (z, context) = make(name).float(), draw()
    for scale in (0.0, 1e3):
        moved, log_det = flow(z.float() * 10, context.float() * scale)
        assert torch.isfinite(moved).all()
        assert torch.isfinite(log_det).all()


def test_a_planar_step_is_its_equation():
    flow, (z, context) = make("planar", trained=True, sizes=FlowSizes(steps=1)), draw()
    u, w, b = flow.amortiser.split(flow.step_parameters(context)[0])
    moved, _ = flow(z, context)
    for event in range(BATCH):
        product = u[event] @ w[event]
        allowed = u[event] + (above_minus_one(product) - product) * w[event] / (w[event] @ w[event])
        torch.testing.assert_close(moved[event], z[event] + allowed * torch.tanh(w[event] @ z[event] + b[event]))
        assert allowed @ w[event] > -1


def test_householder_steps_are_orthogonal_matrices():
    flow, (z, context) = make("householder", trained=True), draw()
    matrices = jacobians(flow, z, context)
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(DIM, dtype=torch.float64).expand_as(matrices))


@pytest.mark.parametrize("name", ["orthogonal_sylvester", "householder_sylvester"])
def test_the_columns_of_a_sylvester_flow_are_orthonormal(name):
    flow, (_, context) = make(name, trained=True).float(), draw()
    assert isinstance(flow, (OrthogonalSylvesterFlow, HouseholderSylvesterFlow))
    q = flow.prepare(flow.amortiser.split(flow.step_parameters(context.float())[0])[-1])
    units = torch.eye(flow.rank)
    columns = torch.stack([flow.lift(unit.expand(BATCH, -1), q) for unit in units], 2)
    torch.testing.assert_close(columns.mT @ columns, units.expand(BATCH, -1, -1), atol=1e-6, rtol=0)
    z = torch.randn(BATCH, DIM)
    torch.testing.assert_close(flow.project(z, q), torch.einsum("bik,bi->bk", columns, z), atol=1e-6, rtol=1e-5)


def test_nearly_parallel_vectors_still_give_an_orthogonal_sylvester_flow():
    flow, (z, _) = make("orthogonal_sylvester", sizes=FlowSizes(steps=1, vectors=3)), draw()
    vector = torch.randn(1, 1, DIM, dtype=torch.float64)
    q = flow.prepare((vector + 1e-6 * torch.randn(BATCH, 3, DIM, dtype=torch.float64)).flatten(1))
    torch.testing.assert_close(q @ q.mT, torch.eye(3, dtype=torch.float64).expand(BATCH, 3, 3), atol=1e-12, rtol=0)
    assert torch.isfinite(flow.project(z, q)).all()


def test_an_autoregressive_step_is_triangular():
    for name in ("iaf", "spline", "convolutional", "triangular_sylvester"):
        flow, (z, context) = make(name, trained=True, sizes=FlowSizes(**{**vars(SIZES), "steps": 1})), draw()
        matrices = jacobians(flow, 0.5 * z, context)
        lower = name in ("iaf", "spline")
        other_side = matrices.triu(1) if lower else matrices.tril(-1)
        assert (other_side == 0).all()
        assert ((matrices - other_side).abs().amax(0) > 1e-9).sum() > DIM


def test_the_convolution_is_torchs():
    flow, (z, context) = make("convolutional", trained=True, sizes=FlowSizes(steps=1, kernel=3)), draw()
    (parameters,) = flow.step_parameters(context)
    for event in range(BATCH):
        value = z[event]
        for power, (u, w, b) in enumerate(flow._layers(parameters)):
            weight = torch.cat([torch.ones(1, dtype=torch.float64), w[event]])
            padded = nn.functional.pad(value, (0, 2 * 2**power))[None, None]
            convolved = nn.functional.conv1d(padded, weight[None, None], b[event], dilation=2**power)[0, 0]
            value = value + u[event] * nn.functional.leaky_relu(convolved, 0.01)
        torch.testing.assert_close(flow(z, context)[0][event], value)


def test_a_spline_is_smooth_monotone_and_the_identity_beyond_its_interval():
    torch.manual_seed(4)
    outputs = 0.7 * torch.randn(3 * 5 - 1, dtype=torch.float64)
    x = torch.linspace(-4, 4, 20_001, dtype=torch.float64)
    y, log_derivative = rational_quadratic_spline(x, outputs.expand(len(x), -1), bound=3.0)
    beyond = x.abs() >= 3
    torch.testing.assert_close(y[beyond], x[beyond])
    slopes = y.diff() / x.diff()
    assert (slopes > 0).all()
    # first derivatives agree across the knots, which a spline with a mistake in one bin's equation does not do
    assert log_derivative.diff().abs().max() < 0.05
    torch.testing.assert_close(
        slopes, 0.5 * (log_derivative.exp()[1:] + log_derivative.exp()[:-1]), rtol=2e-2, atol=1e-3
    )
    back, inverse_log_derivative = rational_quadratic_spline(y, outputs.expand(len(x), -1), bound=3.0, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-6, atol=1e-6)


def test_a_spline_without_parameters_is_the_identity():
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    y, log_derivative = rational_quadratic_spline(x, torch.zeros(len(x), 14, dtype=torch.float64), bound=3.0)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), atol=1e-12, rtol=0)


def test_what_keeps_a_jacobian_positive_keeps_zero():
    values = torch.tensor([-1e4, -5.0, 0.0, 5.0], dtype=torch.float64)
    mapped = above_minus_one(values)
    assert mapped.min() > -1
    assert mapped[2].item() == pytest.approx(0, abs=1e-15)
    assert (mapped.diff() > 0).all()
    assert math.isfinite(torch.log1p(mapped).sum().item())
