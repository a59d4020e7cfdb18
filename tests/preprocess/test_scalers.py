"""Scalers agree with scikit-learn, invert, know their Jacobian, and do not care how the stream is cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import preprocessing as reference

from honeyguide.data.splits import hash_ids
from honeyguide.errors import DataError, StoreError
from honeyguide.preprocess.chain import Chain, Scalers, invert_columns, scale_columns

INVERTIBLE = ["minmax", "standard", "robust", "percentile", "l2", "maxabs", "log", "power", "quantile"]
CHAINS = [*INVERTIBLE, "log+standard", "standard+quantile", "log+robust+minmax", "power+maxabs"]


def momenta(num: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.7, 40.0, num)


def signed(num: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.4, 2.5, num) ** 3


def make(spec: str, values: np.ndarray, **kwargs) -> Chain:
    return Chain("x", spec.split("+"), **kwargs).fit(values)


SKLEARN = {
    "minmax": reference.MinMaxScaler(),
    "standard": reference.StandardScaler(),
    "robust": reference.RobustScaler(quantile_range=(5, 95)),
    "maxabs": reference.MaxAbsScaler(),
    "power": reference.PowerTransformer(),
    "quantile": reference.QuantileTransformer(output_distribution="normal"),
}


@pytest.mark.parametrize("values", [momenta(), signed()], ids=["positive", "signed"])
@pytest.mark.parametrize("name", sorted(SKLEARN))
def test_agrees_with_scikit_learn(name, values):
    expected = SKLEARN[name].fit_transform(values[:, None])[:, 0]
    # Brent's search for the exponent stops at 1e-8 of its optimum in either code
    np.testing.assert_allclose(make(name, values).transform(values), expected, rtol=2e-6, atol=2e-6)


def test_log_is_log1p_continued_as_an_odd_function():
    values = signed()
    scaled = make("log", values).transform(values)
    np.testing.assert_allclose(scaled[values >= 0], np.log1p(values[values >= 0]), rtol=1e-15)
    np.testing.assert_array_equal(make("log", values).transform(-values), -scaled)


def test_l2_is_the_norm_of_the_column():
    values = signed()
    assert np.linalg.norm(make("l2", values).transform(values)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("spec", CHAINS)
@pytest.mark.parametrize("values", [momenta(), signed()], ids=["positive", "signed"])
def test_inverse_round_trip_within_and_beyond_the_fit(spec, values):
    chain = make(spec, values)
    low, high = values.min(), values.max()
    width = high - low
    outside = [] if "power" in spec else [low - 0.3 * width, high + 0.3 * width]
    tested = np.concatenate([values, [low, high, 0.0], outside])
    np.testing.assert_allclose(chain.inverse(chain.transform(tested)), tested, rtol=1e-6, atol=1e-8 * width)


@pytest.mark.parametrize("spec", CHAINS)
@pytest.mark.parametrize("values", [momenta(), signed()], ids=["positive", "signed"])
def test_log_jacobian_is_the_numerical_derivative(spec, values):
    chain = make(spec, values)
    low, high = np.quantile(values, [0.01, 0.99])
    points = np.concatenate([np.linspace(low, high, 201), values.max() + np.array([1.0, 30.0])])
    step = 1e-6 * np.maximum(np.abs(points), 0.1)
    slope = (chain.transform(points + step) - chain.transform(points - step)) / (2 * step)
    error = np.abs(chain.log_jacobian(points) - np.log(slope))
    # the distribution function of quantile has kinks: a step across one sees two slopes
    assert np.median(error) < 1e-5
    assert (error < 1e-4).mean() > (0.95 if "quantile" in spec else 0.999)


@settings(max_examples=25, deadline=None)
@given(
    spec=st.sampled_from(CHAINS),
    seed=st.integers(0, 2**31),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    offset=st.floats(-1e6, 1e6),
)
def test_streaming_equals_one_shot_in_any_order_and_blocks(spec, seed, cuts, offset):
    values = signed(900, seed) + offset
    keys = hash_ids(np.arange(len(values)))
    whole = make(spec, values)
    order = np.random.default_rng(seed).permutation(len(values))
    streamed = Chain("x", spec.split("+"))
    for _ in range(streamed.num_passes):
        for part in np.split(order, sorted(cuts)):
            streamed.partial_fit(values[part], keys[part])
        streamed.finish_pass()
    assert streamed.is_fitted
    # an exponent is found by a search, which carries the rounding of the stages before it further
    tolerance = 1e-6 if "power" in spec else 1e-9
    np.testing.assert_allclose(streamed.transform(values), whole.transform(values), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["robust", "power", "quantile"])
def test_large_data_are_sampled_by_key_whatever_the_order(name):
    values = momenta(30_000)
    keys = hash_ids(np.arange(len(values)), salt=3)
    fits = []
    for order in (np.arange(30_000), np.random.default_rng(1).permutation(30_000)):
        chain = Chain("x", [name], fit_sample=2000)
        for part in np.array_split(order, 11):
            chain.partial_fit(values[part], keys[part])
        chain.finish_pass()
        fits.append(chain.to_dict())
    assert fits[0] == fits[1]
    smallest = np.argsort(keys)[:2000]
    assert fits[0] == Chain("x", [name], fit_sample=2000).fit(values[smallest], keys[smallest]).to_dict()


def test_sample_describes_the_whole():
    values = momenta(50_000)
    scaled = make("quantile", values, fit_sample=5000).transform(values)
    assert abs(scaled.mean()) < 0.06
    assert abs(scaled.std() - 1) < 0.06


@pytest.mark.parametrize("spec", CHAINS)
def test_json_keeps_every_bit(spec, tmp_path):
    values = signed()
    chain = make(spec, values)
    Scalers(objects=(chain,)).write(tmp_path)
    restored = Scalers.read(tmp_path).objects[0]
    np.testing.assert_array_equal(restored.transform(values), chain.transform(values))
    np.testing.assert_array_equal(restored.inverse(values), chain.inverse(values))
    assert json.dumps(restored.to_dict()) == json.dumps(chain.to_dict())


def test_damaged_scalers_are_named(tmp_path):
    with pytest.raises(StoreError, match=r"scalers\.json"):
        Scalers.read(tmp_path)
    for content in ("", "{}", '{"objects": [{"feature": "pt", "stages": [{"name": "standart"}]}], "event": []}'):
        (tmp_path / "scalers.json").write_text(content)
        with pytest.raises(StoreError, match=r"scalers\.json"):
            Scalers.read(tmp_path)


@pytest.mark.parametrize("spec", CHAINS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.5])
def test_constant_feature_stays_finite_and_invertible(spec, constant):
    values = np.full(500, constant)
    chain = make(spec, values)
    scaled = chain.transform(values)
    assert np.isfinite(scaled).all()
    assert np.isfinite(chain.log_jacobian(values)).all()
    np.testing.assert_allclose(chain.inverse(scaled), values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["standard", "minmax", "robust"])
def test_constant_feature_becomes_zero_and_keeps_its_scale(name):
    chain = make(name, np.full(500, 0.1))
    np.testing.assert_allclose(chain.transform(np.array([0.1, 1.1])), [0.0, 1.0], atol=1e-12)


def test_discrete_values_get_the_middle_of_their_step():
    values = np.repeat([1.0, 2.0, 3.0, 4.0], [100, 400, 400, 100])
    chain = make("quantile", values)
    scaled = chain.transform(np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(scaled, [-1.645, -0.524, 0.524, 1.645], atol=0.01)
    np.testing.assert_allclose(chain.inverse(scaled), [1, 2, 3, 4], rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_an_error(bad):
    chain = Chain("eta", ["standard"])
    with pytest.raises(DataError, match=r"'eta'[\s\S]*1 of 3"):
        chain.partial_fit(np.array([0.0, bad, 1.0]), np.zeros(3, dtype=np.uint64))


@pytest.mark.parametrize("name", ["minmax", "standard", "robust", "l2", "maxabs", "power", "quantile"])
def test_nothing_to_fit_is_an_error(name):
    chain = Chain("eta", [name])
    chain.partial_fit(np.empty(0), np.empty(0, dtype=np.uint64))
    with pytest.raises(DataError, match="'eta'"):
        chain.finish_pass()


def test_sincos_inverts_and_has_no_jump_at_pi():
    angle = np.random.default_rng(0).uniform(-np.pi, np.pi, 1000)
    chain = Chain("phi", ["sincos"])
    scaled = chain.transform(angle)
    assert scaled.shape == (1000, 2)
    np.testing.assert_allclose(chain.inverse(3.7 * scaled), angle, rtol=1e-12)
    np.testing.assert_allclose(chain.transform(np.array([np.pi])), chain.transform(np.array([-np.pi])), atol=1e-12)
    assert not chain.log_jacobian(angle).any()


def test_power_saturates_beyond_its_range():
    chain = make("power", momenta())
    assert np.isfinite(chain.inverse(np.array([-1e3, 1e3]))).all()


def test_columns_side_by_side_and_back():
    rng = np.random.default_rng(0)
    columns = [momenta(50), rng.uniform(-np.pi, np.pi, 50), rng.integers(0, 6, 50)]
    chains = [
        make("log+standard", columns[0]),
        Chain("phi", ["sincos"]),
        Chain("pdg_class", ["onehot"], num_categories=6),
        Chain("btag", []),
    ]
    flags = rng.integers(0, 2, 50)
    scaled = scale_columns(chains, [*columns, flags])
    assert scaled.shape == (50, 10)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[:, 3:9].sum(axis=1), 1)
    restored = invert_columns(chains, scaled.reshape(5, 10, 10))
    for name, expected in zip(("x", "phi", "pdg_class", "btag"), [*columns, flags], strict=True):
        np.testing.assert_allclose(restored[name].ravel(), expected, rtol=2e-5, atol=1e-5)


AFFINE = st.tuples(
    st.floats(-100, 100), st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3), st.tuples(st.floats(-9, -1), st.floats(1, 9))
)


@settings(max_examples=60, deadline=None)
@given(affine=AFFINE, values=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20), clipped=st.booleans())
def test_affine_is_what_is_given_and_inverts_where_it_does_not_clip(affine, values, clipped):
    center, scale, clip = affine
    chain, array = Chain("x", ["affine"], affine=(center, scale, clip if clipped else None)), np.array(values)
    assert chain.is_fitted
    assert chain.num_passes == 0
    scaled, plain = chain.transform(array), (array - center) * scale
    inside = (plain > clip[0]) & (plain < clip[1]) if clipped else np.full(len(array), True)
    np.testing.assert_allclose(scaled, np.clip(plain, *clip) if clipped else plain, rtol=1e-12)
    np.testing.assert_allclose(chain.inverse(scaled)[inside], array[inside], rtol=1e-9, atol=1e-9)
    jacobian = chain.log_jacobian(array)
    np.testing.assert_allclose(jacobian[inside], np.log(abs(scale)))
    assert np.isneginf(jacobian[(plain < clip[0]) | (plain > clip[1])]).all() or not clipped
    again = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
    np.testing.assert_array_equal(again.transform(array), scaled)


def test_percentile_is_weavers_automatic_standardisation():
    values = momenta()
    low, median, high = np.percentile(values, [16, 50, 84])
    assert high - median > median - low  # the larger distance counts
    np.testing.assert_allclose(make("percentile", values).transform(values), (values - median) / (high - median))
    np.testing.assert_allclose(make("percentile", -values).transform(-values), (median - values) / (high - median))


def test_affine_limits_what_comes_before_it():
    chain = Chain("x", ["percentile", "affine"], affine=(0.0, 1.0, (-5.0, 5.0))).fit(momenta())
    assert chain.transform(np.array([1e6, -1e6])).tolist() == [5.0, -5.0]
