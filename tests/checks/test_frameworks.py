"""Functions of PyTorch and JAX go in as they are, and a mistake in their backward is found."""

import numpy as np
import pytest

import tinyreg as tr

X = np.array([0.3, -1.2, 2.0, 0.7])


def swish(factor):
    """x σ(x) as an `autograd.Function`; its backward is right if the factor is 1."""
    torch = pytest.importorskip("torch", reason="torch is in the bench extra")

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(context, dout):
            (x,) = context.saved_tensors
            s = torch.sigmoid(x)
            return dout * s * (1 + factor * x * (1 - s))

    return Swish


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("factor", [1.0, 0.0, 2.0, -1.0])
def test_the_backward_of_an_autograd_function(factor, dtype):
    Swish = swish(factor)
    import torch

    def backward(dout, x):
        return torch.autograd.grad(Swish.apply(x.requires_grad_()), x, dout)

    x = torch.tensor(X, dtype=getattr(torch, dtype))
    report = tr.check_backward(Swish.apply, backward, x)
    assert report.ok == (factor == 1), report
    assert bool(report.mismatches) == (factor != 1)


@pytest.mark.parametrize("factor", [1.0, 0.0, 2.0])
def test_a_torch_function_of_a_dict_of_tensors(factor):
    Swish = swish(factor)
    import torch

    def f(p):
        return Swish.apply(p["w"] @ p["x"]).sum()

    def gradient(p):
        values = [value.requires_grad_() for value in p.values()]
        return dict(zip(p, torch.autograd.grad(f(p), values), strict=True))

    generator = torch.Generator().manual_seed(1)
    p = {"w": torch.randn(3, 4, generator=generator).double(), "x": torch.tensor(X)}
    report = tr.check_gradient(f, gradient, p)
    assert [row["block"] for row in report.rows] == ["w", "x"]
    assert report.ok == (factor == 1), report


@pytest.mark.parametrize("factor", [1.0, 0.0, 2.0])
def test_a_custom_vjp_of_jax(factor):
    jax = pytest.importorskip("jax", reason="jax is in the bench extra")

    @jax.custom_vjp
    def softplus(x):
        return jax.numpy.logaddexp(x, 0.0)

    softplus.defvjp(
        lambda x: (softplus(x), x), lambda x, dout: (dout * factor * jax.nn.sigmoid(x),)
    )

    def f(x):
        return softplus(x).sum()

    wide = jax.config.jax_enable_x64
    try:
        for each in (True, False):  # in double precision, and in JAX's default, single
            jax.config.update("jax_enable_x64", each)
            x = jax.numpy.asarray(X)
            report = tr.check_backward(softplus, lambda dout, x: jax.vjp(softplus, x)[1](dout), x)
            assert report.ok == (factor == 1), report
            report = tr.check_gradient(f, jax.grad(f), x)
            assert report.ok == (factor == 1), report
    finally:
        jax.config.update("jax_enable_x64", wide)
