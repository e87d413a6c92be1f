"""One training step, tinyreg beside its peers: microseconds, and ratios peer / tinyreg.

    python -m benchmarks.training_step [--quick] [--threads N] [--json FILE]

Four networks, two dtypes, four workloads. Every contender starts from the same weights and takes
the same shuffled batches, gathered from the data inside the measured time. First each one's
parameters after 20 steps in float64 are compared with tinyreg's (to 1e-8), and one that differs
is not timed. Then rounds are interleaved; the minimum over the rounds counts, and the median is in
the JSON. A peer that is not installed is left out, and so is one that lacks a workload.

Threads wait by spinning: right after PyTorch, a step of JAX took 1.1 times as long as after a pause
of 5 ms; and right after a pause, a short epoch of JAX took 1.2 times as long, as its own threads
slept. So in each round everyone pauses, runs untimed, and then runs again for the clock.

PyTorch comes in four forms, and its best one counts: the fused and the foreach form of its
optimizers, and the network and its loss compiled, with the optimizer compiled as well or fused.
The column `compiled` is the faster of these two. Keras runs on JAX, or on PyTorch if there is none.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import time
import warnings

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=2)

import numpy as np

import tinyreg as tr
from tests.support.frameworks import keras_dense64
from tinyreg.core.network import backward_pass, forward_pass
from tinyreg.core.objective import Samples
from tinyreg.core.training import step
from tinyreg.render.text import text_table

# Keras reads it when it is imported, which is later.
os.environ["KERAS_BACKEND"] = "jax" if importlib.util.find_spec("jax") else "torch"

LAM, SGD_RATE, ADAM_RATE = 1e-4, 0.05, 1e-3
EPS = 1e-12  # so small that it does not matter on which side of the bias correction it stands
# Sizes, batch, rounds, steps in a round.
SMALL = ((64, 64, 10), 32, 20, 32)
WIDE = ((784, 64, 10), 32, 12, 32)
MIDDLE = ((784, 256, 256, 10), 128, 8, 12)
LARGE = ((784, 1024, 1024, 10), 256, 5, 4)
WORKLOADS = {
    "Adam, L2": ("adam", "l2"),
    "SGD, L1 subgradient": ("sgd", "l1"),
    "SGD, L1 proximal": ("sgd", "prox"),
    "Adam, L1 proximal": ("adam", "prox"),
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
        self.samples = self.objective.on(X, y).samples
        self.optimizer = tr.Adam(ADAM_RATE, eps=EPS) if optimizer == "adam" else tr.SGD(SGD_RATE)
        self.state = self.optimizer.start(net.params)
        self.net, self.gradient = net, np.empty_like(net.params)
        self.layers, self.into = net.unpack(net.params), net.unpack(self.gradient)

    def draw(self, rows):
        """A batch, with the weights of its mean."""
        X, targets, weight = self.samples.take(rows)
        return Samples(X, targets, weight * (len(self.samples.targets) / len(rows)))

    def run(self, order, batch):
        activation, loss = self.net.activation, self.objective.loss
        for start in range(0, len(order), batch):
            samples = self.draw(order[start : start + batch])
            trace = forward_pass(samples.X, *self.layers, activation)
            dout = loss.delta(trace.outputs, samples.targets, samples.weight)
            backward_pass(trace, dout, self.layers[0], activation, *self.into)
            if not math.isfinite(self.gradient.dot(self.gradient)):
                raise tr.DivergenceError("in the benchmark")
            step(self.objective, self.optimizer, self.state, self.gradient, self.method)

    def params(self):
        return self.net.params


class Torch:
    """nn.Linear layers and torch.optim, in the form `fused` or `foreach`."""

    form = "fused"

    def __init__(self, net, X, y, batch, optimizer, penalty):
        import torch

        self.torch, self.penalty, self.optimizer_name = torch, penalty, optimizer
        # Adam counts its steps in this dtype: in float32, a compiled bias correction is 1e-7 off.
        torch.set_default_dtype(getattr(torch, net.dtype.name))
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

        self.compile()

    def compile(self):
        """Nothing, in the eager forms."""

    def penalised_loss(self, x, y):
        loss = self.loss(self.model(x), y)
        if self.penalty == "l1":
            loss = loss + LAM * sum(w.abs().sum() for w in self.weights)
        return loss

    def optimize(self):
        self.optimizer.step()

    def prox(self):
        with self.torch.no_grad():
            for w in self.weights:
                bound = LAM * SGD_RATE
                if self.optimizer_name == "adam":
                    state = self.optimizer.state[w]
                    correction = 1 - 0.999 ** state["step"].item()
                    sizes = (state["exp_avg_sq"] / correction).sqrt_().add_(EPS)
                    bound = sizes.reciprocal_().mul_(LAM * ADAM_RATE)
                w.sub_(w.clamp(-bound, bound))

    def run(self, order, batch):
        order = self.torch.tensor(order)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            self.optimizer.zero_grad(set_to_none=True)
            self.penalised_loss(self.X[rows], self.y[rows]).backward()
            self.optimize()
            if self.penalty == "prox":
                self.prox()

    def params(self):
        weights = [linear.weight.detach().numpy().T.ravel() for linear in self.linear]
        return np.concatenate([*weights, *(linear.bias.detach().numpy() for linear in self.linear)])


class TorchForeach(Torch):
    """The same, with the foreach form of the optimizer."""

    form = "foreach"


class TorchCompiledFused(Torch):
    """Forward, loss, backward and prox compiled; the optimizer fused."""

    def compile(self):
        self.torch.compiler.reset()  # else the networks before this one use up its recompilations
        self.penalised_loss = self.torch.compile(self.penalised_loss, dynamic=False)
        self.prox = self.torch.compile(self.prox, dynamic=False)

    def prox(self):
        with self.torch.no_grad():
            for w in self.weights:
                bound = LAM * SGD_RATE
                if self.optimizer_name == "adam":
                    state = self.optimizer.state[w]
                    # A tensor, as a number would be compiled in; and of float64 where that counts.
                    correction = 1 - 0.999 ** state["step"].to(w.dtype)
                    bound = LAM * ADAM_RATE / ((state["exp_avg_sq"] / correction).sqrt() + EPS)
                w.sub_(w.clamp(-bound, bound))


class TorchCompiled(TorchCompiledFused):
    """The optimizer compiled as well: the foreach form, of which one kernel is made."""

    form = "foreach"

    def compile(self):
        super().compile()
        self.optimize = self.torch.compile(self.optimize, dynamic=False)


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


class Keras:
    """Dense layers with kernel regularisers, and train_on_batch for each step.

    In float64 with a plain product of matrices, as Keras' own is of float32 there.
    """

    def __init__(self, net, X, y, batch, optimizer, penalty):
        import keras

        if penalty == "prox":
            raise NotImplementedError
        if keras.backend.backend() == "jax":
            import jax

            jax.config.update("jax_enable_x64", True)
        dtype = net.dtype.name
        keras.config.set_floatx(dtype)  # learning rates are kept in it
        Dense = keras_dense64() if dtype == "float64" else keras.layers.Dense
        R = keras.regularizers.L1(LAM) if penalty == "l1" else keras.regularizers.L2(LAM)
        self.model = keras.Sequential([keras.Input((net.sizes[0],), dtype=dtype)])
        for i, width in enumerate(net.sizes[1:], start=2):
            activation = "relu" if i < len(net.sizes) else None
            self.model.add(Dense(width, activation, kernel_regularizer=R, dtype=dtype))
        pairs = zip(net.weights, net.biases, strict=True)
        self.model.set_weights([array for pair in pairs for array in pair])
        if optimizer == "adam":
            stepper = keras.optimizers.Adam(ADAM_RATE, epsilon=EPS)
        else:
            stepper = keras.optimizers.SGD(SGD_RATE)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)
        self.model.compile(stepper, loss)
        self.X, self.y = X.astype(dtype), y

    def run(self, order, batch):
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            self.model.train_on_batch(self.X[rows], self.y[rows])

    def params(self):
        arrays = self.model.get_weights()
        return np.concatenate([np.ravel(a) for a in (*arrays[::2], *arrays[1::2])])


PEERS = {
    "fused": ("torch", Torch),
    "foreach": ("torch", TorchForeach),
    "compiled": ("torch", TorchCompiled),
    "compiled, fused": ("torch", TorchCompiledFused),
    "sklearn": ("sklearn", Sklearn),
    "JAX step": ("jax", Jax),
    "JAX scan": ("jax", JaxScan),
    "Keras": ("keras", Keras),
}
COMPILED = ("compiled", "compiled, fused")
PYTORCH = ("fused", "foreach", *COMPILED)
# A column of the table, and whose times it shows: the least of them.
COLUMNS = {
    "fused": ("fused",),
    "foreach": ("foreach",),
    "compiled": COMPILED,
    "sklearn": ("sklearn",),
    "JAX step": ("JAX step",),
    "JAX scan": ("JAX scan",),
    "Keras": ("Keras",),
}
# Net, peer, whose times count, and the least that peer / tinyreg should be.
AIMS = [
    ("64-64-10", "PyTorch", PYTORCH, 4),
    ("64-64-10", "scikit-learn", ("sklearn",), 3),
    ("64-64-10", "JAX step", ("JAX step",), 8),
    ("64-64-10", "JAX scan", ("JAX scan",), 0.7),
    ("784-64-10", "PyTorch", PYTORCH, 1.3),
    ("784-64-10", "scikit-learn", ("sklearn",), 2),
    ("784-256-256-10", "PyTorch", PYTORCH, 0.95),
    ("784-256-256-10", "scikit-learn", ("sklearn",), 2),
    ("784-1024-1024-10", "PyTorch", PYTORCH, 0.85),
    ("784-1024-1024-10", "scikit-learn", ("sklearn",), 2),
]
PAUSE = 0.005  # seconds before each contender
PROX_AIM = 1.15  # SGD with the prox over SGD with the subgradient, at most


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


def usable(workload, installed) -> tuple[dict[str, type], set[str]]:
    """The peers that have the workload and agree with tinyreg; and those that do not compile."""
    good, failed = {}, set()
    for name, kind in installed.items():
        try:
            off = agrees(kind, workload)
        except NotImplementedError:
            continue
        except RuntimeError as error:
            if name not in COMPILED:
                raise
            print(f"{name}, {workload}: does not compile: {type(error).__name__}")
            failed.add(name)
            continue
        if off <= 1e-8:
            good[name] = kind
        else:
            print(f"{name}, {workload}: differs by {off:.1e} after 20 steps, not timed")
    return good, failed


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
            time.sleep(PAUSE)  # until the threads of the one before no longer spin
            contender.run(order, batch)
            began = time.perf_counter()
            contender.run(order, batch)
            if trial:
                times[name].append((time.perf_counter() - began) / steps)
    return times


def least(best, names):
    """The least of the times that there are, or None."""
    return min((best[name] for name in names if name in best), default=None)


def row(workload, best, failed) -> list[str]:
    """One line of a table: microseconds, and peer / tinyreg in brackets."""
    own = best["tinyreg"]
    cells = [workload, f"{1e6 * best['floor']:.0f}", f"{1e6 * own:.0f}"]
    for column, names in COLUMNS.items():
        spent = least(best, names)
        missing = "failed" if failed & set(names) else ""
        cells.append(missing if spent is None else f"{1e6 * spent:.0f} ({spent / own:.2f})")
        if column == "compiled":
            pytorch = least(best, PYTORCH)
            cells.append("" if pytorch is None else f"{pytorch / own:.2f}")
    return cells


def aims(best) -> list[list[str]]:
    """Each aim, with its ratios in the four workloads; best is {(net, dtype, workload): times}."""
    rows = [["net", "peer", "dtype", *WORKLOADS, "aim", "verdict"]]
    for net, peer, names, aim in AIMS:
        for dtype in ("float32", "float64"):
            ratios = []
            for workload in WORKLOADS:
                times = best.get((net, dtype, workload), {})
                spent = least(times, names)
                ratios.append(None if spent is None else spent / times["tinyreg"])
            measured = [ratio for ratio in ratios if ratio is not None]
            if measured:
                missed = sum(ratio < aim for ratio in measured)
                told = f"missed in {missed} of {len(measured)}" if missed else "met"
                cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
                rows.append([net, peer, dtype, *cells, f">= {aim}", told])
    return rows


def prox_costs(best) -> list[list[str]]:
    """What the prox costs over the subgradient, and Adam's over Adam with L2."""
    rows = [["net", "dtype", "SGD: prox / subgradient", "aim", "", "Adam: L1 prox / L2"]]
    for net, dtype in dict.fromkeys((net, dtype) for net, dtype, _ in best):
        l2, sub, prox, adam = (best[net, dtype, workload]["tinyreg"] for workload in WORKLOADS)
        verdict = "met" if prox <= PROX_AIM * sub else "missed"
        ratios = f"{prox / sub:.2f}", f"<= {PROX_AIM}", verdict, f"{adam / l2:.2f}"
        rows.append([net, dtype, *ratios])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two nets, fewer rounds, nothing compiled by PyTorch"
    )
    parser.add_argument("--threads", type=int, default=2, help="for every contender (default 2)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    installed = {
        name: kind
        for name, (module, kind) in PEERS.items()
        if importlib.util.find_spec(module) and not (arguments.quick and name in COMPILED)
    }
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(arguments.threads)
    print(machine_line("torch", "scikit-learn", "jax", "keras"))
    print("Microseconds for a step (the least of all rounds), and in brackets peer / tinyreg.")
    print("Fused, foreach and compiled are forms of PyTorch, best is the ratio of the fastest.\n")
    peers = {workload: usable(workload, installed) for workload in WORKLOADS}
    header = ["", "floor", "tinyreg", *COLUMNS]
    header.insert(header.index("compiled") + 1, "best")

    figures, best = [], {}
    for sizes, batch, rounds, steps in (SMALL, WIDE) if arguments.quick else (
        SMALL, WIDE, MIDDLE, LARGE
    ):  # fmt: skip
        net = "-".join(map(str, sizes))
        for dtype in ("float32", "float64"):
            rows = [header]
            for workload, (kinds, failed) in peers.items():
                contenders = {"floor": Floor, "tinyreg": Tinyreg} | kinds
                n_rounds = 4 if arguments.quick else rounds
                times = measure(sizes, batch, dtype, workload, contenders, n_rounds, steps)
                own = best[net, dtype, workload] = {n: min(t) for n, t in times.items()}
                rows.append(row(workload, own, failed))
                figures += [
                    {
                        "net": net, "batch": batch, "dtype": dtype, "workload": workload,
                        "contender": name, "seconds": own[name],
                        "median": statistics.median(values), "ratio": own[name] / own["tinyreg"],
                    }
                    for name, values in times.items()
                ]  # fmt: skip
            print(f"{net}, batch {batch}, {dtype}\n")
            print("\n".join(text_table(rows, rule=True)) + "\n", flush=True)
    print("peer / tinyreg, and the aim in every workload; of PyTorch's forms the best\n")
    print("\n".join(text_table(aims(best), left=3, rule=True)))
    print("\ntinyreg's own steps\n")
    print("\n".join(text_table(prox_costs(best), left=2, rule=True)))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"threads": arguments.threads, "figures": figures}, file, indent=1)


if __name__ == "__main__":
    main()
