"""`check_gradient`: functions of all kinds, right and wrong gradients, and bad arguments."""

import numpy as np
import pytest
import scipy.optimize

import tinyreg as tr


def test_rosenbrock_of_scipy():
    x = np.random.default_rng(0).normal(size=12)
    rosen, der = scipy.optimize.rosen, scipy.optimize.rosen_der
    for method in ("auto", "central", "complex"):
        assert tr.check_gradient(rosen, der, x, method=method).rows[0]["match"] == 12
        assert (
            tr.check_gradient(rosen, lambda x: 2 * der(x), x, method=method)
            .rows[0]["diagnosis"]
            .startswith("constant factor 2")
        )
    assert tr.check_gradient(rosen, der, np.ones(5)).ok  # the minimum, all slopes 0


@pytest.mark.parametrize("method", ["auto", "central", "complex"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 1, 2)])
def test_x_of_any_shape(method, shape):
    x = np.random.default_rng(1).normal(size=shape)

    def f(x):
        return np.sum(np.sin(x) * np.exp(x))

    def gradient(x):
        return np.exp(x) * (np.sin(x) + np.cos(x))

    report = tr.check_gradient(f, gradient, x, method=method)
    assert report.ok, str(report)
    assert report.rows[0]["size"] == x.size
    assert not tr.check_gradient(f, lambda x: gradient(x) * (1 + 1e-4), x, method=method).ok


def test_random_directions_find_one_wrong_coordinate_of_many():
    x = np.random.default_rng(2).normal(size=5000)
    g = 2 * x
    report = tr.check_gradient(lambda x: x @ x, g, x, directions=3)
    assert (report.rows[0]["block"], report.rows[0]["match"]) == ("directions", 3)
    g[4321] += 1.0
    assert not tr.check_gradient(lambda x: x @ x, g, x, directions=3).ok


@pytest.mark.parametrize(
    "f", [lambda x: np.abs(x).sum(), np.linalg.norm, lambda x: float(np.real(x @ x)),
          lambda x: sum(float(v) ** 2 for v in x)],
)  # fmt: skip
def test_the_complex_step_is_used_only_where_it_is_valid(f):
    x = np.array([1.0, -2.0, 0.5])
    exact = np.array([(f(x + e) - f(x - e)) / 2e-6 for e in 1e-6 * np.eye(3)])
    assert tr.check_gradient(f, exact, x, rtol=1e-5).ok
    with pytest.raises(ValueError, match="complex"):
        tr.check_gradient(f, exact, x, method="complex")


def test_a_branch_that_drops_imaginary_parts_is_not_believed():
    def f(x):
        return x[0] ** 2 + (x[1] ** 2).real

    x = np.array([3.0, 1.0])
    assert tr.check_gradient(f, 2 * x, x).ok
    assert not tr.check_gradient(f, np.array([6.0, 0.0]), x).ok


def test_a_function_in_single_precision():
    A = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)

    def f(x):
        return np.tanh(A @ x.astype(np.float32)).sum()

    def gradient(x):
        return A.T @ (1 - np.tanh(A @ x.astype(np.float32)) ** 2)

    x = np.random.default_rng(1).normal(size=6)
    assert tr.check_gradient(f, gradient, x, method="central").ok
    assert not tr.check_gradient(f, lambda x: 1.05 * gradient(x), x, method="central").ok
    # the same where the function hides its precision
    assert tr.check_gradient(lambda x: float(f(x)), gradient, x, method="central").ok


def test_x_is_not_changed_by_a_function_that_changes_its_argument():
    def f(x):
        x *= 2
        return x.sum()

    x = np.ones(3)
    report = tr.check_gradient(f, np.full(3, 2.0), x)
    assert report.ok
    assert report.notes == ["f changes its argument in place"]
    np.testing.assert_array_equal(x, np.ones(3))


def least_squares(p):
    r = p["A"] @ p["w"] + p["b"] - 1.0
    return 0.5 * r @ r, {"w": p["A"].T @ r, "b": r.sum(), "A": np.outer(r, p["w"])}


def test_arrays_in_a_dict_with_value_and_gradient_from_one_function():
    rng = np.random.default_rng(3)
    p = {"w": rng.normal(size=3), "b": 0.5, "A": rng.normal(size=(4, 3))}
    report = tr.check_gradient(least_squares, True, p)
    assert report.ok
    assert [(row["block"], row["match"]) for row in report.rows] == [("w", 3), ("b", 1), ("A", 12)]

    def wrong(p):
        value, gradient = least_squares(p)
        return value, gradient | {"b": 2 * gradient["b"]}

    report = tr.check_gradient(wrong, True, p)
    assert [row["mismatch"] for row in report.rows] == [0, 1, 0]


def test_arrays_in_a_list():
    x = [np.array([1.0, 2.0]), np.array([[3.0]])]

    def f(x):
        return (x[0] @ x[0]) * x[1][0, 0]

    def gradient(x):
        return [2 * x[0] * x[1][0, 0], np.array([[x[0] @ x[0]]])]

    report = tr.check_gradient(f, gradient, x)
    assert report.ok
    assert [row["block"] for row in report.rows] == ["x[0]", "x[1]"]
    assert tr.check_gradient(f, lambda x: [gradient(x)[0], np.zeros((1, 1))], x).mismatches == 1
    assert tr.check_gradient(f, gradient, x, directions=3).rows[0]["match"] == 3


@pytest.mark.parametrize(
    ("f", "gradient", "x", "told"),
    [
        (lambda p: 1.0, {"b": 1.0}, {"a": 1.0}, r"gradient must be a dict with the keys \['a'\]"),
        (lambda p: 1.0, [np.ones(1)], [np.ones(1), np.ones(2)], "gradient must be a list of 2"),
        (lambda p: 1.0, {"a": np.ones(3)}, {"a": np.ones(2)}, r"gradient\['a'\] must have shape"),
        (lambda p: 1.0, {}, {}, "x must not be empty"),
        (lambda p: 1.0, {"a": 1}, {"a": np.array([1, 2])}, r"x\['a'\] must be an array of floats"),
        (lambda x: (1.0, x), np.ones(2), np.ones(2), "say gradient=True"),
        (lambda x: x.sum(), True, np.ones(2), r"with gradient=True f must return \(value, grad"),
        (lambda x: x.sum() * 1j, np.ones(2), np.ones(2), "f must return a real number"),
        (lambda x: 1 // 0, np.ones(2), np.ones(2), "f must not raise at this point, got ZeroDiv"),
        (lambda x: x.sum(), lambda x: 1 // 0, np.ones(2), "gradient must not raise at this point"),
        (3, np.ones(2), np.ones(2), "f must be a function, got int 3"),
    ],
)
def test_what_does_not_fit_is_named(f, gradient, x, told):
    with pytest.raises((TypeError, ValueError), match=told):
        tr.check_gradient(f, gradient, x)


def test_a_function_that_raises_beside_the_point_is_inconclusive_and_says_so():
    def f(x):
        if not np.array_equal(x, [1.0, 2.0]):
            raise RuntimeError("only there")
        return x.sum()

    report = tr.check_gradient(f, np.ones(2), np.array([1.0, 2.0]))
    assert report.inconclusive == 2
    assert "not finite" in report.rows[0]["reason"]


def test_bad_arguments_of_check_gradient_are_named():
    def f(x):
        return np.sum(x)

    one = np.ones(2)
    with pytest.raises(TypeError, match="x must be an array of floats"):
        tr.check_gradient(f, one, np.array([1, 2]))
    with pytest.raises(TypeError, match="x must be an array of floats"):
        tr.check_gradient(f, one, [1, 2])
    with pytest.raises(ValueError, match="x must not be empty"):
        tr.check_gradient(f, one, np.zeros(0))
    with pytest.raises(ValueError, match=r"x must be finite in float64, got inf at \[1\]"):
        tr.check_gradient(f, one, np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="f must return one number"):
        tr.check_gradient(lambda x: x, one, one)
    with pytest.raises(TypeError, match="f must return a number"):
        tr.check_gradient(lambda x: "1", one, one)
    with pytest.raises(ValueError, match="f must be finite"):
        tr.check_gradient(lambda x: np.nan, one, one)
    with pytest.raises(ValueError, match="same result for the same argument, got"):
        tr.check_gradient(lambda x: np.sum(x) + np.random.default_rng().normal(), one, one)
    with pytest.raises(ValueError, match="gradient must give the same result"):
        tr.check_gradient(f, lambda x: np.random.default_rng().normal(size=2), one)
    with pytest.raises(ValueError, match=r"gradient must have shape \(2,\), got \(3,\)"):
        tr.check_gradient(f, np.ones(3), one)
    with pytest.raises(TypeError, match="gradient must be an array of real numbers"):
        tr.check_gradient(f, None, one)
    with pytest.raises(ValueError, match="method must be one of auto, central, complex"):
        tr.check_gradient(f, one, one, method="forward")
    with pytest.raises(ValueError, match="directions must be an integer >= 1"):
        tr.check_gradient(f, one, one, directions=0)


def test_a_function_that_is_not_finite_on_one_side_is_inconclusive():
    def f(x):
        return x[0] ** 2 + (np.nan if x[1] < 1 else x[1])

    report = tr.check_gradient(f, np.array([2.0, 1.0]), np.ones(2))
    assert not report.ok
    assert (report.mismatches, report.inconclusive) == (0, 1)
    assert str(report).startswith("inconclusive: gradient of f")
    assert report.details["x"].verdict.tolist() == ["match", "inconclusive"]
    assert "not finite" in report.rows[0]["reason"]


def test_a_domain_that_ends_close_by_is_no_obstacle():
    x = np.array([1e-9, 1e-13, 2.0])
    with np.errstate(invalid="ignore"):
        assert (
            tr.check_gradient(lambda x: np.log(x).sum(), lambda x: 1 / x, x).rows[0]["match"] == 3
        )


def test_a_gradient_lost_in_the_noise_is_inconclusive():
    def f(x):
        return 1e17 + x[0]

    report = tr.check_gradient(f, np.array([1e-3]), np.zeros(1), method="central")
    assert report.rows[0]["inconclusive"] == 1
    assert "rounding" in report.rows[0]["reason"]
    assert not report.ok
    assert tr.check_gradient(f, np.array([1e6]), np.zeros(1), method="central").mismatches == 1


@pytest.mark.parametrize("k", [1e3, 1e4, 1e5, 1e6])
def test_waves_shorter_than_the_first_step_are_no_false_alarm(k):
    def f(x):
        return np.sin(k * x).sum()

    x = np.linspace(0.5, 2, 20)
    assert (report := tr.check_gradient(f, lambda x: k * np.cos(k * x), x)).ok, report
    assert report.rows[0]["match"] == 20
    assert not tr.check_gradient(f, lambda x: 1.001 * k * np.cos(k * x), x).ok


def random_function(kind, seed):
    """A function of up to five numbers, its gradient and a point, on scales from 1e-8 to 1e8."""
    rng = np.random.default_rng([kind, seed])
    d = int(rng.integers(1, 6))
    A, b = rng.normal(size=(7, d)) * 10 ** rng.uniform(-2, 2), rng.normal(size=7)
    c, x = (
        rng.normal(size=7) * 10 ** rng.uniform(-6, 6),
        rng.normal(size=d) * 10 ** rng.uniform(-3, 2),
    )
    pairs = (
        (lambda z: c @ np.tanh(z), lambda z: c * (1 - np.tanh(z) ** 2)),
        (lambda z: c @ np.maximum(z, 0), lambda z: c * (z > 0)),
        (lambda z: 1e3 + np.abs(z).sum(), np.sign),
        (lambda z: z @ z, lambda z: 2 * z),
        (lambda z: np.log(np.exp(z - z.max()).sum()) + z.max(),
         lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum()),
    )  # fmt: skip
    value, slope = pairs[kind]
    return (lambda x: value(A @ x + b)), (lambda x: A.T @ slope(A @ x + b)), x


@pytest.mark.parametrize("kind", range(5), ids=["tanh", "relu", "abs", "square", "log-sum-exp"])
def test_random_functions_pass_and_wrong_gradients_of_them_do_not(kind):
    found = 0
    for seed in range(20):
        f, gradient, x = random_function(kind, seed)
        report = tr.check_gradient(f, gradient, x)
        # Where tanh is flat, the slopes may all be below the rounding of f's values.
        hidden = np.abs(gradient(x) * x).max() < 1e-16 * abs(f(x))
        assert report.ok or (hidden and not report.mismatches), f"{seed}: {report}"
        details = report.details["x"]
        if np.any(details.error < 1e-4 * np.abs(details.given)):  # else 1.001 is within the noise
            wrong = tr.check_gradient(f, lambda x, g=gradient: 1.001 * g(x), x)
            assert not wrong.ok, f"{seed}: {wrong}"
            found += 1
    assert found > 12


def test_gradients_of_a_torch_model():
    torch = pytest.importorskip("torch", reason="torch is in the bench extra")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Softplus(), torch.nn.Linear(5, 3)
    ).double()
    X, y = torch.randn(6, 4).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def loss(x):
        vector = torch.as_tensor(x)
        parts = vector.split(sizes)
        named = {
            name: part.reshape(p.shape)
            for (name, p), part in zip(model.named_parameters(), parts, strict=True)
        }
        return torch.nn.functional.cross_entropy(torch.func.functional_call(model, named, X), y)

    def gradient(x):
        vector = torch.tensor(x, requires_grad=True)
        (g,) = torch.autograd.grad(loss(vector), vector)
        return g

    x = torch.cat([p.flatten() for p in parameters])  # part of a graph, as a user has it
    report = tr.check_gradient(loss, gradient, x)
    assert report.rows[0]["match"] == sum(sizes)
    assert not tr.check_gradient(loss, lambda x: 2 * gradient(x), x).ok

    def f(x):  # what torch returns may still require a gradient
        return loss(torch.tensor(x, requires_grad=True))

    assert tr.check_gradient(f, gradient, x, directions=2).ok
