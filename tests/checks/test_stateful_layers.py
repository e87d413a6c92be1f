"""`check_layer`: objects that keep in forward what backward needs, in the styles of courses."""

import numpy as np
import pytest

import tinyreg as tr

rng = np.random.default_rng(5)
X = rng.normal(size=(5, 3))


class Dense:
    """y = xW + b, with `wrong` naming the gradient that has a mistake."""

    def __init__(self, wrong=""):
        own = np.random.default_rng(2)
        self.W, self.b, self.wrong = own.normal(size=(3, 4)), own.normal(size=4), wrong

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout * (2 if self.wrong == "W" else 1)
        self.db = dout.mean(axis=0) if self.wrong == "b" else dout.sum(axis=0)
        return dout @ self.W.T if self.wrong != "x" else dout @ self.W.T + 0.1


class Sigmoid:
    """Keeps its output."""

    def __init__(self, wrong=""):
        self.wrong = wrong

    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, dout):
        return dout * self.y * (1 if self.wrong else 1 - self.y)


class InDicts(Dense):
    """Parameters and gradients in dicts."""

    def __init__(self, wrong=""):
        super().__init__(wrong)
        self.parameters, self.gradients = {"W": self.W, "b": self.b}, {}
        del self.W, self.b

    def forward(self, x):
        self.x = x
        return x @ self.parameters["W"] + self.parameters["b"]

    def backward(self, dout):
        self.W = self.parameters["W"]
        dx = super().backward(dout)
        del self.W
        self.gradients = {"W": self.dW, "b": self.db}
        return dx


class Net:
    """Layers in a list, and gradients in a dict of their own."""

    def __init__(self, wrong=""):
        self.layers, self.grads = [Dense(wrong), Sigmoid("x" * (wrong == "s"))], {}

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        self.grads["w1"], self.grads["b1"] = self.layers[0].dW, self.layers[0].db
        return dout


class Norm:
    """Batch normalisation in training mode: running statistics change, the output does not."""

    def __init__(self, wrong=""):
        self.gamma, self.beta = np.linspace(0.5, 2, 3), np.linspace(-1, 1, 3)
        self.running_mean, self.running_var = np.zeros(3), np.ones(3)
        self.wrong = wrong

    def forward(self, x):
        mean, var = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).mean(axis=0)
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        self.running_var = 0.9 * self.running_var + 0.1 * var
        self.std = np.sqrt(var + 1e-5)
        self.hat = (x - mean) / self.std
        return self.gamma * self.hat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * (1 if self.wrong == "gamma" else self.hat)).sum(axis=0)
        self.dbeta = dout.sum(axis=0) + (self.wrong == "beta")
        d = dout * self.gamma
        if self.wrong == "x":
            return d / self.std
        return (d - d.mean(axis=0) - self.hat * (d * self.hat).mean(axis=0)) / self.std


class NormInPlace(Norm):
    """The same with running statistics that cannot hold complex numbers."""

    def forward(self, x):
        mean = x.mean(axis=0)
        self.running_mean *= 0.9
        self.running_mean += 0.1 * mean
        kept = self.running_mean
        out = super().forward(x)
        self.running_mean = kept
        return out


class LayerNorm:
    def __init__(self, wrong=""):
        self.g, self.wrong = np.linspace(0.5, 2, 3), wrong

    def forward(self, x):
        centred = x - x.mean(axis=1, keepdims=True)
        self.std = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        self.hat = centred / self.std
        return self.g * self.hat

    def backward(self, dout):
        self.dg = (dout * self.hat).sum(axis=1 if self.wrong == "g" else 0)[:3]
        d = dout * self.g
        mean = d.mean(axis=1, keepdims=True)
        along = self.hat * (d * self.hat).mean(axis=1, keepdims=True)
        return (d - mean - (0 if self.wrong == "x" else along)) / self.std


class Lstm:
    """A cell of two outputs and three inputs."""

    def __init__(self, wrong=""):
        own = np.random.default_rng(3)
        self.wrong, self.p = wrong, {"Wx": own.normal(size=(3, 8)), "Wh": own.normal(size=(2, 8))}

    def forward(self, x, h, c):
        z = x @ self.p["Wx"] + h @ self.p["Wh"]
        i, f, o = (1 / (1 + np.exp(-z[:, k : k + 2])) for k in (0, 2, 4))
        g = np.tanh(z[:, 6:])
        new = f * c + i * g
        self.kept = x, h, c, i, f, o, g, new
        return o * np.tanh(new), new

    def backward(self, dout):
        dh, dc = dout
        x, h, c, i, f, o, g, new = self.kept
        dc = dc + dh * o * (1 - np.tanh(new) ** 2)
        di, df, do, dg = dc * g, dc * c, dh * np.tanh(new), dc * i
        if self.wrong == "c":
            dc = dh * o * (1 - np.tanh(new) ** 2)
        gates = [d * s * (1 - s) for d, s in ((di, i), (df, f), (do, o))]
        dz = np.hstack([*gates, dg * (1 - g**2)])
        self.grads = {"Wx": x.T @ dz, "Wh": (new if self.wrong == "Wh" else h).T @ dz}
        return dz @ self.p["Wx"].T, dz @ self.p["Wh"].T, dc * f


class Pool:
    """Maximum over neighbouring pairs, which keeps the places."""

    def __init__(self, wrong=""):
        self.wrong = wrong

    def forward(self, x):
        self.shape, pairs = x.shape, x.reshape(len(x), -1, 2)
        self.at = pairs.real.argmax(axis=2)
        return np.take_along_axis(pairs, self.at[..., None], 2)[..., 0]

    def backward(self, dout):
        dx = np.zeros((*dout.shape, 2))
        at = 0 * self.at if self.wrong else self.at
        np.put_along_axis(dx, at[..., None], dout[..., None], 2)
        return dx.reshape(self.shape)


class Dropout:
    """Its mask is drawn once."""

    def __init__(self, wrong=""):
        self.mask, self.wrong = np.random.default_rng(0).random((5, 3)) < 0.5, wrong

    def forward(self, x):
        return x * self.mask / 0.5

    def backward(self, dout):
        return dout * self.mask / (1 if self.wrong else 0.5)


class Embedding:
    """Rows of a table, by integers; the same row may be asked for twice."""

    def __init__(self, wrong=""):
        self.table, self.wrong = np.random.default_rng(4).normal(size=(6, 2)), wrong

    def forward(self, ids):
        self.ids = ids
        return self.table[ids]

    def backward(self, dout):
        self.dtable = np.zeros_like(self.table)
        if self.wrong:
            self.dtable[self.ids] = dout
        else:
            np.add.at(self.dtable, self.ids, dout)


class Adds(Dense):
    """Adds to its gradients, as PyTorch does."""

    def __init__(self, wrong=""):
        super().__init__(wrong)
        self.sums = {"W": np.ones((3, 4)), "b": None}

    def backward(self, dout):
        dx = super().backward(dout)
        self.sums["W"] += self.dW
        self.sums["b"] = self.db if self.sums["b"] is None else self.sums["b"] + self.db
        return dx


class Slope:
    """A leaky ReLU that learns its slope, a Python number."""

    def __init__(self, wrong=""):
        self.a, self.wrong = 0.25, wrong

    def forward(self, x):
        self.x = x
        return np.where(x.real > 0, x, self.a * x)

    def backward(self, dout):
        self.da = float((dout * (self.x if self.wrong == "a" else np.minimum(self.x, 0))).sum())
        return dout * np.where(self.x > 0, 1, self.a)


class OneBuffer(Dense):
    """Returns the same array each time."""

    def __init__(self, wrong=""):
        super().__init__(wrong)
        self.out, self.dx = np.zeros((5, 4)), np.zeros((5, 3))

    def forward(self, x):
        self.out[...] = super().forward(x)
        return self.out

    def backward(self, dout):
        self.dx[...] = super().backward(dout)
        return self.dx


class Real(Dense):
    """Refuses complex numbers."""

    def forward(self, x):
        assert x.dtype == np.float64
        assert self.W.dtype == np.float64
        return super().forward(x)


class Stored:
    """Its parameters are views of one vector, which forward reads."""

    def __init__(self, wrong=""):
        self.theta, self.wrong = np.random.default_rng(6).normal(size=9), wrong
        self.W, self.b = self.theta[:6].reshape(3, 2), self.theta[6:8]
        self.grad = np.zeros(9)

    def forward(self, x):
        self.x = x
        return x @ self.theta[:6].reshape(3, 2) + self.theta[6:8]

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(0) * (0.5 if self.wrong else 1)
        return dout @ self.W.T


W_B = {"W": "dW", "b": "db"}
CELL = (rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), rng.normal(size=(4, 2)))
LAYERS = [
    (Dense, (X,), W_B, {"x": "x", "W": "W", "b": "b"}),
    (Sigmoid, (X,), {}, {"x": "x"}),
    (InDicts, (X,), {"parameters.W": "gradients.W", "parameters.b": "gradients.b"},
     {"x": "x", "parameters.W": "W", "parameters.b": "b"}),
    (Net, (X,), {"layers.0.W": "grads.w1", "layers.0.b": "grads.b1"},
     {"x": "x", "layers.0.W": "W", "layers.0.b": "b"}),
    (Norm, (X,), {"gamma": "dgamma", "beta": "dbeta"}, {n: n for n in ("x", "gamma", "beta")}),
    (NormInPlace, (X,), {"gamma": "dgamma"}, {"x": "x", "gamma": "gamma"}),
    (LayerNorm, (X,), {"g": "dg"}, {"x": "x", "g": "g"}),
    (Lstm, CELL, {"p.Wx": "grads.Wx", "p.Wh": "grads.Wh"}, {"c": "c", "p.Wh": "Wh"}),
    (Pool, (rng.normal(size=(3, 6)),), {}, {"x": "x"}),
    (Dropout, (X,), {}, {"x": "x"}),
    (Embedding, (np.array([0, 3, 3, 1]),), {"table": "dtable"}, {"table": "table"}),
    (Adds, (X,), {"W": "sums.W", "b": "sums.b"}, {"x": "x", "W": "W", "b": "b"}),
    (Slope, (X,), {"a": "da"}, {"a": "a"}),
    (OneBuffer, (X,), W_B, {"x": "x", "W": "W", "b": "b"}),
    (Real, (X,), W_B, {"x": "x", "W": "W", "b": "b"}),
    (Stored, (X,), W_B, {"b": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("style", "inputs", "params", "_"), LAYERS, ids=lambda a: _id(a))
def test_a_right_layer_passes_and_is_left_as_it_was(style, inputs, params, _):
    layer = style()
    before = {place: np.copy(at(layer, place)) for place in params}
    objects = {place: at(layer, place) for place in params}
    report = tr.check_layer(layer, *inputs, params=params)
    assert report.ok, report
    floats = [value for value in inputs if value.dtype == np.float64]
    assert len(report.rows) == len(params) + len(floats)
    for place in params:
        assert at(layer, place) is objects[place]
        np.testing.assert_array_equal(at(layer, place), before[place])
    for value in vars(layer).values():  # no complex numbers are left in what it keeps
        parts = value if isinstance(value, tuple) else [value]
        assert not any(np.iscomplexobj(part) for part in parts)


@pytest.mark.parametrize(
    ("style", "inputs", "params", "block", "wrong"),
    [(*case[:3], *pair) for case in LAYERS for pair in case[3].items()],
    ids=lambda a: _id(a),
)
def test_a_mistake_is_found_in_its_block(style, inputs, params, block, wrong):
    report = tr.check_layer(style(wrong), *inputs, params=params)
    assert [row["block"] for row in report.rows if row["mismatch"]] == [block], report
    assert not report.inconclusive


def _id(value):
    return getattr(value, "__name__", value if isinstance(value, str) else "")


def at(layer, place):
    for step in place.split("."):
        if isinstance(layer, dict):
            layer = layer[step]
        else:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
    return layer


# ---------------------------------------------------------------- what layers do beside


def test_gradients_that_add_up_are_cleared_and_told():
    report = tr.check_layer(Adds(), X, params={"W": "sums.W", "b": "sums.b"})
    cleared = "is set to 0 before each call"
    assert report.notes == [f"backward adds to sums.{name}: it {cleared}" for name in "Wb"]
    assert tr.check_layer(Dense(), X, params=W_B).notes == []


@pytest.mark.parametrize("factor", [1.0, 1.0001])
def test_parameters_in_single_precision_are_moved_in_double(factor):
    layer = Dense()
    layer.W, layer.b = (np.asarray(a * factor, np.float32) for a in (layer.W, layer.b))
    W = layer.W
    backward = layer.backward

    def wrong(dout):
        dx = backward(dout)
        layer.dW *= factor
        return dx

    layer.backward = wrong
    report = tr.check_layer(layer, X, params=W_B)
    assert report.ok == (factor == 1), report
    assert layer.W is W
    assert layer.W.dtype == np.float32


def test_inputs_that_are_changed_and_a_step_of_training_inside_backward():
    class Trains(Dense):
        def forward(self, x):
            out = super().forward(x.copy())
            x *= 0
            return out

        def backward(self, dout):
            dx = super().backward(dout)
            dout *= 0
            self.W -= 0.1 * self.dW
            self.b = self.b - 0.1 * self.db
            return dx

    layer, right = Trains(), Dense()
    b = layer.b
    report = tr.check_layer(layer, X, params=W_B)
    assert report.ok, report
    assert layer.b is b
    np.testing.assert_array_equal(layer.W, right.W)
    assert report.notes == ["forward changes x in place", "backward changes dout in place"]


def test_the_parameters_are_put_back_after_an_error():
    class Fails(Dense):
        def backward(self, dout):
            self.W *= 2
            raise RuntimeError("not written yet")

    layer, right = Fails(), Dense()
    with pytest.raises(ValueError, match=r"^backward must not .* RuntimeError: not written yet$"):
        tr.check_layer(layer, X, params=W_B)
    np.testing.assert_array_equal(layer.W, right.W)


def test_names_of_methods_a_cache_and_parameters_that_are_left_out():
    class Square:
        def __call__(self, x, power=2):
            return x**2, x

        def grad(self, dout, x):
            return [2 * x * dout]

    report = tr.check_layer(Square(), X, forward="__call__", backward="grad", cache=True)
    assert [(row["block"], row["match"]) for row in report.rows] == [("x", 15)]
    report = tr.check_layer(Dense("W"), X, directions=3)
    assert [(row["block"], row["match"]) for row in report.rows] == [("x", 3)]


def test_two_kinks_of_a_dense_layer_with_relu_are_judged_output_by_output():
    class Relu(Dense):
        def forward(self, x):
            self.z = super().forward(x)
            return np.maximum(self.z, 0)

        def backward(self, dout):
            return super().backward(dout * (self.z >= 0 if self.wrong else self.z > 0)) * (
                2 if self.wrong == "twice" else 1
            )

    for wrong, ok in (("", True), ("above", True), ("twice", False)):
        layer = Relu(wrong)
        layer.b[:] = 0
        report = tr.check_layer(layer, np.zeros((1, 3)), params=W_B)
        assert report.ok == ok, report


BAD = {
    "params must name places in the layer, got 'V': AttributeError": {"params": {"V": "dW"}},
    "params must name places in the layer, got 'W.T.f': Attr": {"params": {"W.T.f": "dW"}},
    "params must name places in the layer, got 'dV': Attr": {"params": {"W": "dV"}},
    "the gradient of W must be an array of real": {"params": {"W": "wrong"}},
    "params must name places in the layer, got 'none': .*None": {"params": {"W": "none"}},
    "count must be an array of floats": {"params": {"count": "dW"}},
    "wrong must be": {"params": {"wrong": "dW"}},
    r"the gradient of W must have shape \(3, 4\), got \(4,\)": {"params": {"W": "db"}},
    "params must be a dict of places": {"params": ["W"]},
    "each place in params must be a name": {"params": {"W": 1}},
    "layer must have a method 'call'": {"forward": "call"},
    "layer must have a method 3": {"backward": 3},
    "names must have 1 entries": {"names": ["x", "W"]},
    "names must not be those of params, got W": {"names": ["W"], "params": W_B},
    "directions must be an integer >= 1": {"directions": 0},
    "atol must be a finite number >= 0": {"atol": -1.0},
}


@pytest.mark.parametrize("told", BAD)
def test_a_bad_argument_of_check_layer_is_named(told):
    layer = Dense()
    layer.none, layer.count = None, np.arange(3)
    with pytest.raises((TypeError, ValueError), match=told) as caught:
        tr.check_layer(layer, X, **BAD[told])
    assert "\n" not in str(caught.value)


def test_a_random_layer_is_named():
    class Random(Dropout):
        def forward(self, x):
            self.mask = rng.random(x.shape) < 0.5
            return super().forward(x)

    with pytest.raises(ValueError, match=r"^forward must give the same result .* a dropout mask"):
        tr.check_layer(Random(), X)
