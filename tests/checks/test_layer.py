"""`check_backward`: layers in several styles, and bad arguments."""

import numpy as np
import pytest

import tinyreg as tr
from tests.support.planted import batch_norm, batch_norm_backward
from tinyreg.core import layers


def softmax_loss(z, labels):
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return np.array(-np.log(p[np.arange(len(z)), labels]).mean())


def softmax_loss_backward(dout, z, labels):
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    p[np.arange(len(z)), labels] -= 1
    return dout * p / len(z), None


def two_layers_forward(x, W1, b1, W2, b2):
    """In the style of CS231n: the output, and a cache for the way back."""
    hidden = x @ W1 + b1
    active = np.maximum(hidden, 0)
    return active @ W2 + b2, (x, W1, W2, hidden, active)


def two_layers_backward(dout, cache):
    x, W1, W2, hidden, active = cache
    dactive = dout @ W2.T
    dhidden = dactive * (hidden > 0)
    return dhidden @ W1.T, x.T @ dhidden, dhidden.sum(0), active.T @ dout, dout.sum(0)


def test_layers_in_the_style_of_a_course():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((5, 4), (4, 6), 6, (6, 3), 3)]
    report = tr.check_backward(two_layers_forward, two_layers_backward, *arrays, cache=True)
    assert [row["block"] for row in report.rows] == ["x", "W1", "b1", "W2", "b2"]
    assert [row["match"] for row in report.rows] == [20, 24, 6, 18, 3]

    labels = rng.integers(0, 3, 5)
    report = tr.check_backward(softmax_loss, softmax_loss_backward, arrays[0][:, :3], labels)
    assert [row["match"] for row in report.rows] == [15]
    assert report.notes == ["labels is not checked: it is no array of floats"]

    names = ("x", "gamma", "beta")
    report = tr.check_backward(
        batch_norm, batch_norm_backward, arrays[0], rng.normal(size=4), rng.normal(size=4),
        names=names,
    )  # fmt: skip
    assert [(row["block"], row["match"]) for row in report.rows] == [
        *zip(names, (20, 4, 4), strict=True)
    ]


@pytest.mark.parametrize("wrong", range(5))
def test_a_mistake_behind_a_cache_is_found_in_its_input(wrong):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((5, 4), (4, 6), 6, (6, 3), 3)]

    def backward(dout, cache):
        return [g + 0.1 * (i == wrong) for i, g in enumerate(two_layers_backward(dout, cache))]

    report = tr.check_backward(two_layers_forward, backward, *arrays, cache=True)
    assert [row["mismatch"] > 0 for row in report.rows] == [i == wrong for i in range(5)]


def rnn_forward(x, h, W, settings):
    """Two outputs and a cache; in `settings` it counts its calls and keeps a mean."""
    settings["mean"] = 0.9 * settings.get("mean", 0.0) + 0.1 * x.mean()
    new = np.tanh(x @ W + h)
    return new.sum(axis=0), new, (x, W, new)


def rnn_backward(dout, cache):
    (dsum, dnew), (x, W, new) = dout, cache
    dz = (dnew + dsum) * (1 - new**2)
    return {"x": dz @ W.T, "h": dz, "W": x.T @ dz}


def test_several_outputs_settings_and_gradients_by_name():
    rng = np.random.default_rng(0)
    arrays, settings = (
        (rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(3, 2))),
        {},
    )
    report = tr.check_backward(rnn_forward, rnn_backward, *arrays, settings, cache=True)
    assert report.ok, report
    assert [(row["block"], row["match"]) for row in report.rows] == [("x", 15), ("h", 10), ("W", 6)]
    assert report.notes == ["settings is not checked: it is no array of floats"]
    assert settings == {}

    def of_one_only(dout, cache):
        return rnn_backward((0 * dout[0], dout[1]), cache)

    report = tr.check_backward(rnn_forward, of_one_only, *arrays, {}, cache=True)
    assert [row["mismatch"] > 0 for row in report.rows] == [True] * 3
    with pytest.raises(ValueError, match=r"see names=\), got h, W"):
        tr.check_backward(
            rnn_forward, rnn_backward, *arrays, {}, cache=True, names=["x", "state", "w", "s"]
        )


def test_a_gradient_that_is_not_returned_is_named():
    arrays = np.ones((2, 3)), np.ones((3, 4))
    report = tr.check_backward(lambda x, W: x @ W, lambda d, x, W: {"x": d @ W.T}, *arrays)
    assert report.ok
    assert report.notes == ["W is not checked: backward returned no gradient of it"]


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_random_directions_in_place_of_coordinates(factor):
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(5, 3)), rng.normal(size=(3, 2))

    def backward(dout, x, W):
        dout = dout * (1 - np.tanh(x @ W) ** 2)
        return dout @ W.T, factor * x.T @ dout

    report = tr.check_backward(lambda x, W: np.tanh(x @ W), backward, x, W, directions=4)
    assert [row["shape"] for row in report.rows] == [[4], [4]]
    assert [row["mismatch"] for row in report.rows] == [0, 0 if factor == 1 else 4]


def test_an_absolute_tolerance():
    def backward(dout, x):
        return dout * 2 * x + 4e-9

    x = np.array([1e-3, 0.0, 1.0])
    assert not tr.check_backward(np.square, backward, x).ok
    assert tr.check_backward(np.square, backward, x, atol=1e-8).ok


@pytest.mark.parametrize("factor", [1.0, 1.5])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_code_in_low_precision(dtype, factor):
    def forward(x):
        return np.tanh(x.astype(dtype))

    def backward(dout, x):
        return (factor * dout * (1 - forward(x) ** 2)).astype(dtype)

    x = np.linspace(0.2, 1.5, 6)
    report = tr.check_backward(forward, backward, x)
    assert bool(report.mismatches) == (factor != 1), report
    if dtype == "float32":  # half precision may be too coarse to say that it is right
        assert report.ok == (factor == 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_upstream_is_not_the_x_of_a_user(seed):
    """Where x is the upstream, Σ x ⊙ x/‖x‖ is ‖x‖, and a gradient of 0 along x is never missed."""
    x = np.random.default_rng(seed).standard_normal((4, 3))

    def forward(x):
        return x / np.sqrt((x**2).sum())

    def backward(dout, x):
        return dout / np.sqrt((x**2).sum())  # the part along x is forgotten

    assert tr.check_backward(forward, backward, x, seed=seed).mismatches


def test_methods_of_a_layer_that_keeps_its_output():
    class Tanh:
        def forward(self, x):
            self.y = np.tanh(x)
            return self.y

        def backward(self, dout):
            return dout * (1 - self.y**2)

    layer = Tanh()
    x = np.linspace(-1, 2, 7)
    for forward in (layer.forward, lambda x: layer.forward(x)):
        report = tr.check_backward(forward, lambda dout, x: layer.backward(dout), x)
        assert report.rows[0]["match"] == 7, report
        assert layer.y.dtype == np.float64


@pytest.mark.parametrize("name", sorted(layers.ACTIVATIONS))
def test_every_pair_of_this_package(name):
    z = np.concatenate([np.linspace(-6, 6, 21), [-300.0, 300.0, 1e-9]])
    pair = layers.ACTIVATIONS[name]
    report = tr.check_backward(pair.forward, pair.backward, z)
    assert report.ok, str(report)
    assert report.rows[0]["kink"] == (name in ("relu", "leaky_relu"))
    rng = np.random.default_rng(0)
    x, W, b = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)
    tr.check_backward(layers.affine_forward, layers.affine_backward, x, W, b).raise_if_failed()
    mask = layers.dropout_mask((3, 4), 0.5, rng)
    tr.check_backward(
        layers.dropout_forward, layers.dropout_backward, x, mask, wrt=(0,)
    ).raise_if_failed()


def sigma(z):
    return 1 / (1 + np.exp(-z))


def softened(z):
    """log(1 + exp z), of which the usual slope is 1 − σ(−z)."""
    return np.maximum(z, 0) + np.log1p(np.exp(np.minimum(z, -z)))


# name: the layer, its slope as it is written, the same without cancellation
FLAT = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, lambda z: 1 / np.cosh(z) ** 2),
    "sigmoid": (sigma, lambda z: sigma(z) * (1 - sigma(z)), lambda z: sigma(z) * sigma(-z)),
    "softplus": (softened, lambda z: 1 - sigma(-z), sigma),
}
TAILS = [(19, 20), (17, 18), (0.5, 19, 20), (-40, -20, -18, -14, 3, 14, 16, 18, 30, 37, 40)]


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("z", TAILS)
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_slopes_rounded_to_a_few_ulps_of_those_near_by_are_right(name, z, scale):
    """Where 1 − a² is 0 or 2.2e-16, the slope is 1e-16."""
    f, slope, _ = FLAT[name]
    z = np.array(z, dtype=float)

    class Layer:
        def forward(self, z):
            self.z = z
            return scale * f(z)

        def backward(self, dout):
            return scale * dout * slope(self.z)

    for report in (
        tr.check_backward(lambda z: scale * f(z), lambda d, z: scale * d * slope(z), z),
        tr.check_layer(Layer(), z),
    ):
        assert report.rows[0]["match"] == z.size, report
    real = tr.check_backward(lambda z: f(np.real(z)), lambda d, z: d * slope(z), z)
    assert not real.mismatches, real  # values alone leave parts of a tail open
    if 0.5 in z:
        assert [row["match"] >= 2 for row in real.rows] == [True], real


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("z", "factor"), [(10.0, 1.001), (14.0, 1.1), (15.0, 0.0), (15.0, -1.0)])
def test_a_mistake_in_a_flat_tail_is_found_down_to_a_few_ulps(name, z, factor):
    """A slope of 8e-9 beside slopes of 1 is judged to 1e-15, and so to a millionth of itself."""
    f, _, exact = FLAT[name]
    z = np.array([0.3, -1.0, z, -z])

    def backward(dout, z):
        return dout * exact(z) * np.where(np.abs(z) > 5, factor, 1)

    report = tr.check_backward(f, backward, z)
    assert report.details[report.rows[0]["block"]].verdict.tolist() == 2 * ["match"] + 2 * [
        "mismatch"
    ], report
    off = tr.check_backward(f, lambda d, z: d * (exact(z) + 2e-14), np.array([0.3, 40.0]))
    assert off.rows[0]["mismatch"] == 1, off


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_no_such_error_is_allowed_where_a_layer_joins_or_moves_numbers(factor):
    """The slope of 1e-15 is that of another output than the slope of 1 near by."""

    def forward(x):
        return np.array([1.0, 1e-15]) * x[::-1]

    def backward(dout, x):
        return np.array([factor * 1e-15 * dout[1], dout[0]])

    report = tr.check_backward(forward, backward, np.array([1.0, -2.0]))
    assert report.details["x"].verdict.tolist() == [
        "match" if factor == 1 else "mismatch", "match",
    ]  # fmt: skip


def test_a_backward_that_changes_its_arguments_is_reported_and_harmless():
    def backward(dout, x):
        dout *= 2 * x
        return dout

    x = np.array([1.0, 2.0])
    report = tr.check_backward(lambda x: x**2, backward, x)
    assert report.ok
    assert report.notes == ["backward changes dout in place"]
    np.testing.assert_array_equal(x, [1.0, 2.0])


def test_a_forward_that_changes_its_input_is_reported_and_harmless():
    def forward(x):
        x *= 2
        return x**2

    x = np.array([1.0, 2.0])
    report = tr.check_backward(forward, lambda dout, x: 8 * x * dout, x)
    assert report.ok
    assert report.notes == ["forward changes x in place"]
    np.testing.assert_array_equal(x, [1.0, 2.0])


@pytest.mark.parametrize("cache", [None, {}, "shape", ((2,), np.ones(3)), np.ones((5, 4))])
def test_a_forward_with_a_cache_is_pointed_to_the_argument(cache):
    with pytest.raises((TypeError, ValueError), match="say cache=True"):
        tr.check_backward(lambda z: (z, cache), lambda d, z: d, np.ones((5, 4)))
    with pytest.raises(TypeError, match=r"with cache=True forward must return \(out, cache\), got"):
        tr.check_backward(lambda z: z, lambda d, z: d, np.ones((5, 4)), cache=True)


def fails(*_):
    raise KeyError("weights")


X, draw = np.ones((2, 3)), np.random.default_rng(0).random
BAD_PASSES = {
    "forward must not raise at this point, got KeyError": (fails, lambda d, x: d),
    "backward must not raise at this point, got KeyError": (lambda x: x, fails),
    "backward must not raise at this point, got TypeError": (lambda x: x, lambda d: d),
    "the output of forward must be .* got an array of shape .* object": (lambda x: None, fails),
    "the output of forward must be .* <U4": (lambda x: "text", fails),
    r"the output of forward must be .* object": (lambda x: x.astype(object), fails),
    "the output of forward must be .* complex128": (lambda x: x + 0j, fails),
    r"the output of forward must be finite .* nan at \[0, 0\]": (lambda x: x * np.nan, fails),
    "the output of forward must not be empty": (lambda x: x[:0], fails),
    r"the gradient of x must have shape \(2, 3\), got \(3, 2\)": (lambda x: x, lambda d, x: d.T),
    "the gradient of x must be an array of real": (lambda x: x, lambda d, x: "d"),
    "backward must return 1 gradients, .* got 2": (lambda x: x, lambda d, x: (d, d)),
    "backward returned no gradient of an array": (lambda x: x, lambda d, x: None),
    "backward, in the gradient of x, must give the same": (lambda x: x, lambda d, x: d * draw()),
}  # fmt: skip


@pytest.mark.parametrize("told", BAD_PASSES)
def test_a_bad_pass_is_told_in_one_line(told):
    with pytest.raises((TypeError, ValueError), match=told) as caught:
        tr.check_backward(*BAD_PASSES[told], X)
    assert "\n" not in str(caught.value)
    if "KeyError" in told:
        assert isinstance(caught.value.__cause__, KeyError)


def test_a_backward_that_adds_up_over_calls_is_told():
    total = np.zeros((2, 3))

    def backward(dout, x):
        nonlocal total
        total = total + dout
        return total

    with pytest.raises(ValueError, match="gradient of x, must give the same result"):
        tr.check_backward(np.positive, backward, X)


def test_bad_arguments_of_check_backward_are_named():
    x = np.ones((2, 2))
    with pytest.raises(ValueError, match="backward must return 2 gradients"):
        tr.check_backward(np.add, lambda d, a, b: d, x, x)
    with pytest.raises(ValueError, match=r"the gradient of b must have shape \(2,\), got \(2, 2\)"):
        tr.check_backward(np.add, lambda d, a, b: (d, d), x, x[0], names=("a", "b"))
    with pytest.raises(TypeError, match="at least one array of floats"):
        tr.check_backward(np.negative, lambda d, a: -d, np.array([1, 2]))
    with pytest.raises(ValueError, match="arrays must not be empty"):
        tr.check_backward(np.negative, lambda d, a: -d)
    with pytest.raises(ValueError, match="names must have 1 entries"):
        tr.check_backward(np.negative, lambda d, a: -d, x, names=("a", "b"))
    with pytest.raises(ValueError, match="x, W: setting an array element with a sequence"):
        tr.check_backward(lambda x, W: x, lambda d, x, W: d, [[1.0], [2.0, 3.0]], x)
    with pytest.raises(ValueError, match="forward must give the same result"):
        tr.check_backward(lambda a: a * np.random.default_rng().random(a.shape), lambda d, a: d, x)


@pytest.mark.parametrize("wrt", [0, [3], [-1], [0, 7], ["x"]])
def test_a_bad_wrt_is_named(wrt):
    with pytest.raises((TypeError, ValueError), match="wrt must"):
        tr.check_backward(np.tanh, lambda d, z: d * (1 - np.tanh(z) ** 2), np.ones(3), wrt=wrt)


@pytest.mark.parametrize("power", [1, 2])
def test_a_backward_that_is_not_linear_is_found_at_kinks_too(power):
    """With upstream ±1 alone, d and d|d| are the same."""
    x = np.array([[0.0, 1.0], [0.0, -2.0], [3.0, 0.0]])

    def backward(dout, x):
        half = 0.5 * np.sign(dout) * np.abs(dout) ** power
        return np.where(x == 0, half, dout * (x > 0))

    report = tr.check_backward(lambda x: np.maximum(x, 0), backward, x)
    assert report.ok == (power == 1), report
    if power == 2:
        assert report.mismatches == 3
        assert "not linear in dout" in report.rows[0]["diagnosis"]
