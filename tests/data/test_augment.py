"""Augmentations keep what they must keep, and change the rest as much as they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.augment import augment, azimuth_columns, drop_objects, rotate, smear
from honeyguide.data.augment_settings import AugmentationSettings
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.noise import EventNoise
from honeyguide.errors import ConfigError


def columns(*names: str) -> tuple[Column, ...]:
    made = []
    for name in names:
        feature = name.removeprefix("sin(").removeprefix("cos(").removesuffix(")")
        made.append(Column(name=name, feature=feature, kind="binary" if name == "jet_btag" else "continuous"))
    return tuple(made)


SPEC = InputSpec(
    level="constituent",
    shape=(2, 3),
    # sine and cosine of two azimuths, not side by side, and of a relative one
    columns=columns("pt", "cos(phi)", "sin(jet_phi)", "delta_phi", "cos(jet_phi)", "sin(phi)", "jet_pt", "jet_btag"),
    event_columns=columns("met", "sin(met_phi)", "cos(met_phi)"),
    processes=("qcd",),
    generators=("a",),
)
UNTOUCHED = [0, 3, 6, 7]


def make_batch(seed: int = 0, num_events: int = 64) -> Batch:
    torch.manual_seed(seed)
    mask = torch.rand(num_events, 6) < 0.6
    mask[0], mask[1] = True, False
    objects = torch.randn(num_events, 6, 8)
    phi, jet_phi, met_phi = 6.3 * torch.rand(3, num_events, 6)
    objects[..., 1], objects[..., 5] = phi.cos(), phi.sin()
    objects[..., 2], objects[..., 4] = jet_phi.sin(), jet_phi.cos()
    event = torch.stack([torch.randn(num_events), met_phi[:, 0].sin(), met_phi[:, 0].cos()], 1)
    return Batch(
        objects=objects.masked_fill(~mask[..., None], 0),
        mask=mask,
        event=event,
        weight=torch.rand(num_events),
        label=torch.zeros(num_events, dtype=torch.int64),
        generator=torch.arange(num_events) % 2,
        event_id=torch.arange(num_events),
    )


def angles(batch: Batch) -> torch.Tensor:
    """All azimuths of each event: of constituents, their jets and the missing momentum, (batch, 13)."""
    o, e = batch.objects, batch.event
    return torch.cat(
        [torch.atan2(o[..., 5], o[..., 1]), torch.atan2(o[..., 2], o[..., 4]), torch.atan2(e[:, 1:2], e[:, 2:3])], 1
    )


AUGMENTATIONS = {
    "smear": lambda batch, generator: smear(batch, SPEC, width=0.1, generator=generator),
    "rotate": lambda batch, generator: rotate(batch, SPEC, generator=generator),
    "drop": lambda batch, generator: drop_objects(batch, rate=0.3, generator=generator),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_generator_decides_alone_and_the_batch_is_left_as_it_was(name):
    batch, original = make_batch(), make_batch()
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(views))
        views.append(AUGMENTATIONS[name](batch, torch.Generator().manual_seed(seed)))
    torch.manual_seed(5)
    views.append(AUGMENTATIONS[name](batch, None))
    assert torch.equal(views[0].objects, views[1].objects)
    assert not torch.equal(views[0].objects, views[2].objects)
    assert not torch.equal(views[0].objects, views[3].objects)
    for field, before in original.tensors().items():
        assert torch.equal(batch.tensors()[field], before)
        if field not in ("objects", "mask", "event"):
            assert torch.equal(views[0].tensors()[field], before)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_rotation_turns_each_event_as_a_whole(seed):
    batch = make_batch(seed)
    turned = rotate(batch, SPEC, generator=torch.Generator().manual_seed(seed))
    radius = turned.objects[..., 1] ** 2 + turned.objects[..., 5] ** 2
    torch.testing.assert_close(radius, batch.mask.float())
    valid = torch.cat([batch.mask, batch.mask, torch.ones(len(batch), 1, dtype=torch.bool)], 1)
    change = angles(turned) - angles(batch)
    differences = change - change[:, -1:]
    wrapped = torch.atan2(differences.sin(), differences.cos())
    assert wrapped[valid].abs().max() < 1e-4
    assert torch.equal(turned.objects[..., UNTOUCHED], batch.objects[..., UNTOUCHED])
    assert torch.equal(turned.event[:, 0], batch.event[:, 0])
    assert torch.equal(turned.mask, batch.mask)
    assert not turned.objects[~batch.mask].any()


def test_rotations_are_uniform():
    batch = make_batch(num_events=4000)
    change = (angles(rotate(batch, SPEC, generator=torch.Generator().manual_seed(1))) - angles(batch))[:, -1]
    quadrants = torch.bincount(((change % 6.283185) / 1.5707964).long().clamp(max=3), minlength=4)
    assert ((quadrants - 1000).abs() < 4 * 750**0.5).all()


def test_an_azimuth_that_is_no_sine_and_cosine_is_an_error():
    assert azimuth_columns(SPEC.columns) == [(5, 1), (2, 4)]
    assert azimuth_columns(columns("pt", "delta_phi", "sin(delta_phi)", "cos(delta_phi)")) == []
    with pytest.raises(ConfigError, match="sincos"):
        azimuth_columns(columns("pt", "phi"))


def test_smearing_has_its_width_on_the_objects_alone():
    batch = make_batch(num_events=4000)
    smeared = smear(batch, SPEC, width=0.25, generator=torch.Generator().manual_seed(1))
    change = smeared.objects - batch.objects
    noise = change[..., 0][batch.mask]
    assert abs(noise.std() - 0.25) < 4 * 0.25 / (2 * len(noise)) ** 0.5
    assert abs(noise.mean()) < 4 * 0.25 / len(noise) ** 0.5
    assert not change[..., 1:].any()
    assert not smeared.objects[~batch.mask].any()
    # each object by its own number
    whole = batch.mask.all(1)
    assert abs(torch.corrcoef(change[whole][..., 0].T)[0, 1]) < 4 / whole.sum() ** 0.5
    other = smear(batch, SPEC, width=0.25, feature="jet_pt", generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((other.objects - batch.objects)[..., 6], change[..., 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("feature", ["jet_btag", "p", "phi"])
def test_what_is_no_continuous_column_can_not_be_smeared(feature):
    with pytest.raises(ConfigError, match="continuous column"):
        smear(make_batch(), SPEC, width=0.1, feature=feature)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7, 1.0])
def test_objects_are_dropped_at_the_rate_and_never_the_last(rate):
    batch = make_batch(num_events=4000)
    dropped = drop_objects(batch, rate=rate, generator=torch.Generator().manual_seed(1))
    before, after = batch.mask.sum(1), dropped.mask.sum(1)
    assert not (dropped.mask & ~batch.mask).any()
    assert torch.equal(dropped.objects, batch.objects * dropped.mask[..., None])
    assert torch.equal(after[before < 2], before[before < 2])
    assert (after[before > 0] >= 1).all()
    for count in range(1, 7):
        # a binomial number of losses, but one less where all would be lost
        chosen = before == count
        expected = count * rate - rate**count
        lost = (count - after[chosen]).double()
        error = max(float(lost.std()) / len(lost) ** 0.5, 1e-9)
        assert abs(lost.mean() - expected) <= 4 * error


def test_the_one_that_stays_is_any():
    batch = make_batch(num_events=6000)
    whole = batch.mask.all(1)
    kept = drop_objects(batch, rate=1.0, generator=torch.Generator().manual_seed(1)).mask[whole].sum(0)
    expected = whole.sum() / 6
    assert ((kept - expected).abs() < 4 * expected**0.5).all()


def test_a_view_is_smeared_turned_and_thinned_as_the_settings_say():
    batch, kept = make_batch(num_events=400), {"smear": {}, "rotate": False, "drop": 0.0}
    assert_same(augment(batch, SPEC, AugmentationSettings(**kept)), batch)
    smeared = augment(batch, SPEC, AugmentationSettings(**{**kept, "smear": {"pt": 0.5, "jet_pt": 2.0}}))
    changes = (smeared.objects - batch.objects)[batch.mask]
    assert changes[:, 0].std().item() == pytest.approx(0.5, rel=0.1)
    assert changes[:, 6].std().item() == pytest.approx(2.0, rel=0.1)
    assert abs(changes[:, [0, 6]].T.corrcoef()[0, 1]) < 0.1
    assert not changes[:, [1, 2, 3, 4, 5, 7]].any()
    turned = augment(batch, SPEC, AugmentationSettings(**{**kept, "rotate": True}))
    assert torch.equal(turned.objects[..., UNTOUCHED], batch.objects[..., UNTOUCHED])
    assert not torch.isclose(turned.event[:, 1], batch.event[:, 1], atol=1e-4).all()
    thinned = augment(batch, SPEC, AugmentationSettings(**{**kept, "drop": 0.5}))
    assert 0.4 < thinned.mask.sum() / batch.mask.sum() < 0.7


def test_noise_of_events_gives_an_event_the_same_view_in_any_batch():
    batch, settings = make_batch(), AugmentationSettings(smear={"pt": 0.5}, drop=0.4)
    some = torch.tensor([40, 3, 17])
    part = batch.map(lambda tensor: tensor[some])
    whole, alone, other = (
        augment(chosen, SPEC, settings, generator=EventNoise(chosen.event_id, draw=draw))
        for chosen, draw in ((batch, 2), (part, 2), (part, 3))
    )
    assert_same(alone, whole.map(lambda tensor: tensor[some]))
    assert not torch.equal(other.objects, alone.objects)


def assert_same(one: Batch, other: Batch) -> None:
    assert list(one.tensors()) == list(other.tensors())
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name
