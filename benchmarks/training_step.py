"""One training step, tinyreg beside its peers: microseconds, and ratios peer / tinyreg.

    python benchmarks/training_step.py [--quick] [--threads N] [--json FILE]

Four networks, two dtypes, four workloads. Every contender starts from the same weights and takes
the same shuffled batches, gathered from the data inside the measured time. First each one's
parameters after 20 steps in float64 are compared with tinyreg's (to 1e-8), and one that differs
is not timed. Then rounds are interleaved; the minimum over the rounds counts, and the median is in
the JSON. A peer that is not installed is left out, and so is one that lacks a workload.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import warnings

if __name__ == "__main__":  # before NumPy is loaded: its threads are counted once
    given = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "2"
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = given
    if given == "1":
        os.environ["XLA_FLAGS"] = (
            "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )

import numpy as np

import tinyreg as tr
from tinyreg.training import Workspace, start_states, step

LAM, SGD_RATE, ADAM_RATE = 1e-4, 0.05, 1e-3
EPS = 1e-12  # so small that it does not matter on which side of the bias correction it stands
NETS = [((64, 64, 10), 32), ((784, 64, 10), 32), ((784, 256, 256, 10), 128)]
LARGE = ((784, 1024, 1024, 10), 256)
WORKLOADS = {
    "Adam + L2": ("adam", "l2"),
    "SGD + L1 subgradient": ("sgd", "l1"),
    "SGD + L1 proximal": ("sgd", "prox"),
    "Adam + L1 proximal": ("adam", "prox"),
}


def same_start(sizes, dtype, seed=0):
    return tr.MLP(sizes, dtype=dtype, seed=seed)


class Floor:
    """The matrix products of a step and nothing else."""

    def __init__(self, net, X, y, batch, optimizer, penalty):
        self.x = [np.ones((batch, n), net.dtype) for n in net.sizes]
        self.W = [W.copy() for W in net.weights]
        self.dW = [W.copy() for W in net.weights]

    def run(self, order, batch):
        for _ in range(0, len(order), batch):
            for i, W in enumerate(self.W):
                np.matmul(self.x[i], W, out=self.x[i + 1])
            for i in reversed(range(len(self.W))):
                np.matmul(self.x[i].T, self.x[i + 1], out=self.dW[i])
                if i:
                    np.matmul(self.x[i + 1], self.W[i].T, out=self.x[i])

    params = None


class Tinyreg:
    """The inner loop of `fit`, without its history."""

    def __init__(self, net, X, y, batch, optimizer, penalty):
        R = tr.L2(LAM) if penalty == "l2" else tr.L1(LAM)
        self.method = "proximal" if penalty == "prox" else "subgradient"
        self.objective = tr.Objective(net, tr.SoftmaxCrossEntropy(), R)
        self.data = self.objective.check(X, y)
        self.workspace = Workspace(net, self.data, batch)
        self.optimizer = tr.Adam(ADAM_RATE, eps=EPS) if optimizer == "adam" else tr.SGD(SGD_RATE)
        self.states = start_states(self.objective, self.optimizer)

    def run(self, order, batch):
        for start in range(0, len(order), batch):
            rows = self.workspace.gather(self.data, order[start : start + batch])
            gradient = self.workspace.data_gradient(self.objective, rows, None)
            if not np.isfinite(gradient.dot(gradient)):
                raise tr.DivergenceError("in the benchmark")
            step(self.objective, self.optimizer, self.states, gradient, self.method)

    def params(self):
        return self.objective.net.params


class Torch:
    """nn.Linear layers and torch.optim, in the form `fused` or `foreach`."""

    form = "fused"

    def __init__(self, net, X, y, batch, optimizer, penalty):
        import torch

        self.torch, self.penalty, self.optimizer_name = torch, penalty, optimizer
        layers = []
        for W, b in zip(net.weights, net.biases, strict=True):
            linear = torch.nn.Linear(*W.shape, dtype=getattr(torch, net.dtype.name))
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(W.T.copy()))
                linear.bias.copy_(torch.tensor(b.copy()))
            layers += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.linear = layers[::2]
        self.weights = [linear.weight for linear in self.linear]
        biases = [linear.bias for linear in self.linear]
        decay = 2 * LAM if penalty == "l2" else 0.0
        groups = [
            {"params": self.weights, "weight_decay": decay},
            {"params": biases, "weight_decay": 0.0},
        ]
        form = {self.form: True}
        if optimizer == "adam":
            self.optimizer = torch.optim.Adam(groups, lr=ADAM_RATE, eps=EPS, **form)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=SGD_RATE, **form)
        self.X, self.y = torch.tensor(X.astype(net.dtype)), torch.tensor(y)
        self.loss = torch.nn.CrossEntropyLoss()

    def run(self, order, batch):
        torch = self.torch
        order = torch.tensor(order)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.model(self.X[rows]), self.y[rows])
            if self.penalty == "l1":
                loss = loss + LAM * sum(w.abs().sum() for w in self.weights)
            loss.backward()
            self.optimizer.step()
            if self.penalty == "prox":
                with torch.no_grad():
                    for w in self.weights:
                        t = SGD_RATE
                        if self.optimizer_name == "adam":
                            state = self.optimizer.state[w]
                            correction = 1 - 0.999 ** float(state["step"])
                            t = ADAM_RATE / ((state["exp_avg_sq"] / correction).sqrt_() + EPS)
                        bound = t * LAM
                        w.sub_(w.clamp(-bound, bound))

    def params(self):
        weights = [linear.weight.detach().numpy().T.ravel() for linear in self.linear]
        return np.concatenate([*weights, *(linear.bias.detach().numpy() for linear in self.linear)])


class TorchForeach(Torch):
    """The same, with the foreach form of the optimizer."""

    form = "foreach"


class Sklearn:
    """MLPClassifier: its own loop over all epochs, so that its batches come in the order of X."""

    def __init__(self, net, X, y, batch, optimizer, penalty):
        from sklearn.neural_network import MLPClassifier

        if (optimizer, penalty) != ("adam", "l2"):
            raise NotImplementedError
        self.net, self.y = net, y
        self.X = X.astype(net.dtype)
        self.model = MLPClassifier(
            net.sizes[1:-1], alpha=2 * LAM * batch, batch_size=batch, max_iter=1, shuffle=False,
            learning_rate_init=ADAM_RATE, epsilon=EPS, warm_start=True, tol=0,
            n_iter_no_change=10**9,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit(self.X, y)
        for W, b, own, own_b in zip(
            self.model.coefs_, self.model.intercepts_, net.weights, net.biases, strict=True
        ):
            W[...], b[...] = own, own_b
        del self.model._optimizer

    def run(self, order, batch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.fit(self.X[order], self.y[order])

    def params(self):
        weights = [W.ravel() for W in self.model.coefs_]
        return np.concatenate([*weights, *self.model.intercepts_])


class Jax:
    """A pure update function, compiled once and called for each step."""

    scan = False

    def __init__(self, net, X, y, batch, optimizer, penalty):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.jnp = jnp
        dtype = net.dtype
        Ws = [jnp.array(W) for W in net.weights]
        bs = [jnp.array(b) for b in net.biases]
        self.X, self.y = jnp.array(X.astype(dtype)), jnp.array(y)
        zeros = jax.tree.map(jnp.zeros_like, (Ws, bs))
        self.state = ((Ws, bs), zeros, zeros, jnp.zeros((), dtype))

        def loss(params, x, t):
            Ws, bs = params
            for W, b in zip(Ws[:-1], bs[:-1], strict=True):
                x = jax.nn.relu(x @ W + b)
            z = x @ Ws[-1] + bs[-1]
            value = jnp.mean(jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(t)), t])
            if penalty == "l2":
                value += LAM * sum(jnp.sum(W * W) for W in Ws)
            elif penalty == "l1":
                value += LAM * sum(jnp.sum(jnp.abs(W)) for W in Ws)
            return value

        def update(state, rows):
            params, m, v, t = state
            g = jax.grad(loss)(params, self.X[rows], self.y[rows])
            t = t + 1
            if optimizer == "adam":
                m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                sizes = jax.tree.map(lambda v: ADAM_RATE / (jnp.sqrt(v / (1 - 0.999**t)) + EPS), v)
                params = jax.tree.map(
                    lambda p, s, m: p - s * m / (1 - 0.9**t), params, sizes, m
                )  # fmt: skip
            else:
                sizes = jax.tree.map(lambda p: SGD_RATE, params)
                params = jax.tree.map(lambda p, g: p - SGD_RATE * g, params, g)
            if penalty == "prox":
                Ws = [
                    W - jnp.clip(W, -s * LAM, s * LAM)
                    for W, s in zip(params[0], sizes[0], strict=True)
                ]
                params = (Ws, params[1])
            return params, m, v, t

        self.update = jax.jit(update)
        self.epoch = jax.jit(lambda state, rows: jax.lax.scan(
            lambda s, r: (update(s, r), None), state, rows
        )[0])  # fmt: skip

    def run(self, order, batch):
        rows = order.reshape(-1, batch)
        if self.scan:
            self.state = self.epoch(self.state, self.jnp.array(rows))
        else:
            for r in rows:
                self.state = self.update(self.state, r)
        self.state[0][0][0].block_until_ready()

    def params(self):
        Ws, bs = self.state[0]
        return np.concatenate([*(np.ravel(W) for W in Ws), *(np.ravel(b) for b in bs)])


class JaxScan(Jax):
    """The same, the whole epoch compiled into one call."""

    scan = True


PEERS = {
    "PyTorch fused": ("torch", Torch),
    "PyTorch foreach": ("torch", TorchForeach),
    "scikit-learn": ("sklearn", Sklearn),
    "JAX per step": ("jax", Jax),
    "JAX scan": ("jax", JaxScan),
}


def data(sizes, n):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], n)


def agrees(kind, workload) -> float:
    """The largest difference from tinyreg's parameters after 20 steps in float64."""
    sizes, batch = (20, 16, 5), 8
    X, y = data(sizes, 20 * batch)
    order = np.arange(len(X))
    ours = Tinyreg(same_start(sizes, "float64"), X, y, batch, *WORKLOADS[workload])
    theirs = kind(same_start(sizes, "float64"), X, y, batch, *WORKLOADS[workload])
    ours.run(order, batch)
    theirs.run(order, batch)
    return float(np.abs(ours.params() - theirs.params()).max())


def measure(sizes, batch, dtype, workload, kinds, rounds, steps):
    """Seconds per step: {contender: [one number a round]}."""
    X, y = data(sizes, batch * steps)
    contenders = {
        name: kind(same_start(sizes, dtype), X, y, batch, *WORKLOADS[workload])
        for name, kind in kinds.items()
    }
    times = {name: [] for name in contenders}
    rng = np.random.default_rng(2)
    for trial in range(rounds + 1):  # the first one compiles and warms up
        order = rng.permutation(len(X))
        for name, contender in contenders.items():
            began = time.perf_counter()
            contender.run(order, batch)
            if trial:
                times[name].append((time.perf_counter() - began) / steps)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two nets, fewer rounds")
    parser.add_argument("--threads", type=int, default=2, help="for every contender (default 2)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    installed = {
        name: kind for name, (module, kind) in PEERS.items() if importlib.util.find_spec(module)
    }
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(arguments.threads)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.threads} threads each, Python {platform.python_version()}, "
        f"NumPy {np.__version__}; peers: {', '.join(installed) or 'none'}\n"
    )
    usable: dict[str, dict[str, type]] = {}
    for workload in WORKLOADS:
        usable[workload] = {}
        for name, kind in installed.items():
            try:
                off = agrees(kind, workload)
            except NotImplementedError:
                continue
            if off <= 1e-8:
                usable[workload][name] = kind
            else:
                print(f"{name}, {workload}: differs by {off:.1e} after 20 steps, not timed")

    figures = []
    nets = NETS[:2] if arguments.quick else [*NETS, LARGE]
    for sizes, batch in nets:
        large = sizes[1] > 500
        rounds, steps = (3, 4) if large else (4 if arguments.quick else 9, 32)
        for dtype in ("float32", "float64"):
            print(f"{'-'.join(map(str, sizes))}, batch {batch}, {dtype}: µs, and peer / tinyreg")
            for workload, peers in usable.items():
                kinds = {"floor": Floor, "tinyreg": Tinyreg} | peers
                times = measure(sizes, batch, dtype, workload, kinds, rounds, steps)
                best = {name: min(values) for name, values in times.items()}
                own = best["tinyreg"]
                cells = [f"{name} {1e6 * best[name]:.0f}" for name in ("floor", "tinyreg")]
                cells += [
                    f"{name} {1e6 * best[name]:.0f} ({best[name] / own:.2f})" for name in peers
                ]
                print(f"  {workload:<22}" + "  ".join(cells))
                figures += [
                    {
                        "net": list(sizes),
                        "batch": batch,
                        "dtype": dtype,
                        "workload": workload,
                        "contender": name,
                        "seconds": best[name],
                        "median": statistics.median(values),
                        "ratio": best[name] / own,
                    }
                    for name, values in times.items()
                ]
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"threads": arguments.threads, "figures": figures}, file, indent=1)


if __name__ == "__main__":
    main()
