"""How the cost of a step grows with parameters and batch, and what `fit` adds to its steps.

    python -m benchmarks.scaling [--quick] [--dtype float64] [--threads N] [--figure FILE.png]

Steps of Adam with L2 on random data, as in training_step.py. The floor is the matrix products
alone. A slope is that of log time over log n from the row above: 1 is in proportion, 0 is free.
Then the parts of a step, each by the clock. Last, `fit` beside its bare steps (gather, gradient,
check, optimizer) on the digits, ten epochs of 57 steps: what is more is shuffling, the history of
each epoch, and the check of the data. All are minima over interleaved rounds, but for the parts:
medians over steps.
"""

from __future__ import annotations

import argparse
import math
import os
import time

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=2)

import numpy as np

import tinyreg as tr
from benchmarks.training_step import (
    ADAM_RATE,
    EPS,
    LAM,
    LARGE,
    MIDDLE,
    SMALL,
    WIDE,
    Floor,
    Tinyreg,
    data,
)
from tinyreg.core.network import backward_pass, forward_pass
from tinyreg.render.text import text_table

# From 10³ to 10⁷ parameters.
NETS = [
    (16, 38, 10), (32, 72, 10), (64, 128, 10), (256, 112, 10), (784, 125, 10),
    (784, 256, 384, 10), (784, 700, 600, 10), (1024, 1400, 1200, 10), (2048, 2500, 1900, 10),
]  # fmt: skip
BATCHES = [1, 4, 16, 64, 256, 1024, 4096]
PARTS = ("gather", "forward", "loss", "backward", "check", "penalty", "optimizer")
FIT_AIM = 0.10
BATCH, EPOCHS = 32, 10


def seconds(sizes, batch, dtype, quick) -> tuple[float, float]:
    """Of one step and of its floor."""
    net = tr.MLP(sizes, dtype=dtype, seed=0)
    work = net.n_params * (batch + 20)  # about in proportion to the time
    steps = max(2, min(64, int(3e8 / work)))
    X, y = data(sizes, steps * batch)
    contenders = [kind(net.copy(), X, y, batch, "adam", "l2") for kind in (Tinyreg, Floor)]
    times = [[], []]
    order = np.random.default_rng(2).permutation(len(X))
    for trial in range(4 if quick else 12):
        for contender, own in zip(contenders, times, strict=True):
            began = time.perf_counter()
            contender.run(order, batch)
            if trial:
                own.append((time.perf_counter() - began) / steps)
    return min(times[0]), min(times[1])


def table(name, cases, dtype, quick):
    """The lines of a table, and its numbers: n, seconds, floor. A case is (n, told, net, batch)."""
    rows = [[name, "net", "µs/step", "floor µs", "step / floor", "slope"]]
    numbers = []
    for n, sizes, batch in cases:
        spent, floor = seconds(sizes, batch, dtype, quick)
        slope = ""
        if numbers:
            before, spent_before, _ = numbers[-1]
            slope = f"{math.log(spent / spent_before) / math.log(n / before):.2f}"
        numbers.append((n, spent, floor))
        told = "-".join(map(str, sizes))
        times = f"{1e6 * spent:,.0f}", f"{1e6 * floor:,.0f}", f"{spent / floor:.1f}"
        rows.append([f"{n:,}", told, *times, slope])
    return text_table(rows, left=0, rule=True), numbers


def parts(sizes, batch, dtype, quick) -> list[float]:
    """Median seconds of each of PARTS: the step of training.py, with a clock between its lines."""
    steps = 8 if quick else 60 if sizes[1] > 64 else 800
    X, y = data(sizes, 8 * batch)
    net = tr.MLP(sizes, dtype=dtype, seed=0)
    loop = Tinyreg(net, X, y, batch, "adam", "l2")
    order = np.arange(len(X))
    loop.run(order, batch)  # so that all arrays have been touched
    objective, gradient = loop.objective, loop.gradient
    spent = {part: [] for part in PARTS}
    for number in range(steps):
        rows = order[number % 8 * batch :][:batch]
        clock = [time.perf_counter()]
        samples = loop.draw(rows)
        clock.append(time.perf_counter())
        trace = forward_pass(samples.X, *loop.layers, net.activation)
        clock.append(time.perf_counter())
        dout = objective.loss.delta(trace.outputs, samples.targets, samples.weight)
        clock.append(time.perf_counter())
        backward_pass(trace, dout, loop.layers[0], net.activation, *loop.into)
        clock.append(time.perf_counter())
        assert math.isfinite(gradient.dot(gradient))
        clock.append(time.perf_counter())
        objective.add_subgradient(gradient, net.params)
        clock.append(time.perf_counter())
        loop.optimizer.step(net.params, gradient, loop.state)
        clock.append(time.perf_counter())
        for part, seconds_of_part in zip(PARTS, np.diff(clock), strict=True):
            spent[part].append(seconds_of_part)
    return [float(np.median(own)) for own in spent.values()]


def fit_over_steps(dtype, quick) -> list[list[str]]:
    """`fit` over its bare steps, without and with validation data."""
    X, y = tr.load_digits()
    validation = X[-360:], y[-360:]
    net = tr.MLP((64, 64, 10), dtype=dtype, seed=0)
    start = net.params.copy()
    steps = EPOCHS * math.ceil(len(X) / BATCH)
    # The very batches that fit draws.
    shuffling = np.random.default_rng(0).spawn(2)[0]
    orders = [shuffling.permutation(len(X)) for _ in range(EPOCHS)]

    def bare():
        loop = Tinyreg(net, X, y, BATCH, "adam", "l2")
        began = time.perf_counter()
        for order in orders:
            loop.run(order, BATCH)
        return time.perf_counter() - began

    def fit(validation_data):
        began = time.perf_counter()
        tr.fit(
            net, X, y, loss=tr.SoftmaxCrossEntropy(), penalty=tr.L2(LAM),
            optimizer=tr.Adam(ADAM_RATE, eps=EPS), epochs=EPOCHS, batch_size=BATCH,
            validation_data=validation_data,
        )  # fmt: skip
        return time.perf_counter() - began

    runs = {
        "bare steps": bare,
        "fit": lambda: fit(None),
        "fit with validation data": lambda: fit(validation),
    }
    times = {name: [] for name in runs}
    ends = {}
    for _ in range(4 if quick else 16):
        for name, run in runs.items():
            net.params = start
            times[name].append(run())
            ends[name] = net.params.copy()
    assert all(np.array_equal(end, ends["fit"]) for end in ends.values()), "not the same steps"
    best = {name: min(own) / steps for name, own in times.items()}
    rows = []
    for name, spent in best.items():
        more = spent / best["bare steps"] - 1
        verdict = ["", ""]
        if name != "bare steps":
            verdict = [f"{100 * more:.1f} %", "met" if more <= FIT_AIM else "missed"]
        rows.append([f"{dtype}, {name}", f"{1e6 * spent:.1f}", *verdict])
    return rows


def draw(panels, path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (name, numbers) in zip(axes, panels.items(), strict=True):
        n, spent, floor = np.array(numbers).T
        ax.loglog(n, 1e6 * spent, "o-", color="#0072B2", label="a step of Adam with L2")
        ax.loglog(n, 1e6 * floor, "s--", color="#D55E00", label="its matrix products")
        ax.set_xlabel(name)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("µs")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=80)
    print(f"\nwrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller nets")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=2, help="of NumPy (default 2)")
    parser.add_argument("--figure", metavar="FILE", help="draw both tables there")
    arguments = parser.parse_args()
    dtype, quick = arguments.dtype, arguments.quick
    print(machine_line())

    nets, batches = (NETS[:6], BATCHES[:5]) if quick else (NETS, BATCHES)
    panels = {}
    by_params = [(tr.MLP(sizes).n_params, sizes, BATCH) for sizes in nets]
    lines, panels["parameters (batch 32)"] = table("parameters", by_params, dtype, quick)
    print(f"\nsteps of growing networks, batch {BATCH}, {dtype}\n\n" + "\n".join(lines), flush=True)
    by_batch = [(batch, (784, 256, 10), batch) for batch in batches]
    lines, panels["batch (784-256-10)"] = table("batch", by_batch, dtype, quick)
    print(f"\nsteps with growing batches, {dtype}\n\n" + "\n".join(lines), flush=True)

    rows = [["µs", *PARTS, "all"]]
    for sizes, batch, *_ in (SMALL, WIDE, MIDDLE, LARGE):
        for each in ("float32", "float64"):
            spent = parts(sizes, batch, each, quick)
            told = f"{'-'.join(map(str, sizes))}, {each}"
            rows.append([told, *(f"{1e6 * value:,.1f}" for value in (*spent, sum(spent)))])
    print("\nthe parts of a step of Adam with L2, batches as in training_step.py\n")
    print("\n".join(text_table(rows, rule=True)), flush=True)

    rows = [["", "µs/step", "over bare", f"<= {100 * FIT_AIM:.0f} %"]]
    for each in ("float32", "float64"):
        rows += fit_over_steps(each, quick)
    print("\n`fit` and its bare steps: 64-64-10, the digits, Adam with L2, batch 32\n")
    print("\n".join(text_table(rows, rule=True)))
    if arguments.figure:
        draw(panels, arguments.figure)


if __name__ == "__main__":
    main()
