"""Gradient checkers side by side: seconds, planted bugs found, false alarms.

    python -m benchmarks.gradient_check [--quick]

Every checker gets the same functions, gradients and points: the planted bugs of
tests/support/planted.py, the mutants of tests/support/mutants.py, and right gradients of the same
and other networks. A checker that is not installed is left out. The verdict is the checker's own,
at its defaults, where it has one; scipy's check_grad and numdifftools return numbers, which are
judged here by the rules that stand at their functions below. All run on one thread. The mutation
study at the end takes most of the time: half an hour, unless --quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np
import scipy.optimize

import tinyreg as tr
from tests.support.mutants import Case, Mutant, mutants, score
from tests.support.nets import random_case, trained_case
from tests.support.planted import BUGS
from tinyreg.render.text import text_table

Check = Callable[[Callable, Callable, np.ndarray], bool]
Cases = Iterable[tuple[Case, np.ndarray]]
NUMDIFFTOOLS = "numdifftools Gradient"  # not in the mutation study: it would take hours
SCORES = {
    "cause": "the true cause",
    "place": "the true place only",
    "none": "nothing",
    "false": "a false cause",
}


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first n digits: (n, 64) in [0, 1], and their labels."""
    X, y = tr.load_digits()
    return X[:n], y[:n]


# ------------------------------------------------------------ the checkers: f, gradient, x -> ok


def tinyreg_check(f, gradient, x):
    return tr.check_gradient(f, gradient, x).ok


def scipy_check(f, gradient, x):
    """Passes if the norm of the difference is below 1e-4 of the gradient's (or of 1)."""
    return scipy.optimize.check_grad(f, gradient, x) <= 1e-4 * max(1, np.linalg.norm(gradient(x)))


def numdifftools_check(f, gradient, x):
    """Passes if all coordinates are within a relative 1e-4, or 1e-6."""
    numeric = np.atleast_1d(importlib.import_module("numdifftools").Gradient(f)(x))
    return bool(np.allclose(numeric, gradient(x), rtol=1e-4, atol=1e-6))


def torch_check(fast: bool) -> Check:
    import torch

    def check(f, gradient, x):
        class Function(torch.autograd.Function):
            @staticmethod
            def forward(context, p):
                context.save_for_backward(p)
                return torch.tensor(f(p.detach().numpy().copy()), dtype=torch.float64)

            @staticmethod
            def backward(context, dout):
                (p,) = context.saved_tensors
                return dout * torch.from_numpy(gradient(p.detach().numpy().copy()))

        point = torch.tensor(x, requires_grad=True)
        return torch.autograd.gradcheck(
            Function.apply, (point,), fast_mode=fast, raise_exception=False
        )

    return check


def jax_check(f, gradient, x):
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    number, like = jax.ShapeDtypeStruct((), x.dtype), jax.ShapeDtypeStruct(x.shape, x.dtype)

    @jax.custom_vjp
    def function(p):
        return jax.pure_callback(lambda q: np.float64(f(np.array(q))), number, p)

    def forward(p):
        return function(p), p

    def backward(p, dout):
        return (dout * jax.pure_callback(lambda q: gradient(np.array(q)), like, p),)

    function.defvjp(forward, backward)
    try:
        check_grads(function, (x,), order=1, modes=["rev"])
    except AssertionError:
        return False
    return True


def installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def checkers() -> dict[str, Check]:
    found: dict[str, Check] = {"tinyreg check_gradient": tinyreg_check}
    if installed("torch"):
        importlib.import_module("torch").set_num_threads(1)
        found["torch gradcheck"] = torch_check(False)
        found["torch gradcheck, fast mode"] = torch_check(True)
    if installed("jax"):
        found["jax check_grads"] = jax_check
    found["scipy check_grad"] = scipy_check
    if installed("numdifftools"):
        found[NUMDIFFTOOLS] = numdifftools_check
    return found


# ------------------------------------------------------------ what they find, what they reject


def passes(check: Check, f, gradient, x) -> bool | None:
    """The verdict, or None if the checker raised."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return bool(check(f, gradient, x))
        except Exception:
            return None


def bugs_found(check: Check) -> tuple[int, int, int]:
    """Found, of how many, and how often the checker raised instead."""
    verdicts = []
    for bug in BUGS:
        if bug.pair is not None:
            with bug.plant():
                verdicts.append(passes(check, *bug.pair()))
    return verdicts.count(False), len(verdicts), verdicts.count(None)


def right_cases(count: int):
    """Random nets, and ReLU nets trained to sparsity, small enough for every checker."""
    for seed in range(count):
        objective, X, y, weight, _ = random_case(seed, max_width=8, max_depth=2)
        yield objective, X, y, weight
    for seed in range(count):
        yield trained_case(seed, max_width=8, max_depth=2, activation="relu")


def as_function(objective, X, y, weight):
    def value(p):
        return objective.value(X, y, params=p, sample_weight=weight)

    def gradient(p):
        return objective.gradient(X, y, params=p, sample_weight=weight)

    return value, gradient, objective.net.params.copy()


def false_alarms(check: Check, cases) -> tuple[int, int, int]:
    verdicts = [passes(check, *as_function(*case)) for case in cases]
    return verdicts.count(False), len(verdicts), verdicts.count(None)


# ------------------------------------------------------------ the mutation study


def with_structure(case: Case, given: np.ndarray) -> tr.Report:
    return tr.check_gradients(
        case.objective, case.X, case.y, sample_weight=case.weight, masks=case.masks, gradient=given
    )


def of_values(check: Callable) -> Callable:
    """A checker that knows nothing of networks, asked about a case."""
    return lambda case, given: check(
        case.value, lambda p: given.copy(), case.objective.net.params.copy()
    )


def verdicts(check: Callable, cases: Cases) -> Counter[str]:
    """How often a gradient passed, was rejected or inconclusive, or the checker raised."""
    counts: Counter[str] = Counter()
    for case, given in cases:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                result = check(case, given)
            except Exception:
                counts["raised"] += 1
                continue
        judged = not isinstance(result, tr.Report) or result.ok or result.mismatches
        counts["inconclusive" if not judged else "passed" if result else "rejected"] += 1
    return counts


def right_gradients(wrong: list[Mutant], count: int) -> Iterator[tuple[Case, np.ndarray]]:
    """Of the mutants' own networks, of `count` random ones, and of `count` trained to sparsity."""
    for mutant in wrong:
        yield mutant.case, mutant.right
    for seed in range(count):
        random = random_case(seed, max_width=12)[:4]
        for F, X, y, weight in (random, trained_case(seed, max_width=12, activation="relu")):
            yield Case(F, X, y, weight, None, []), F.gradient(X, y, sample_weight=weight)


def mutation_study(quick: bool) -> str:
    """The tables: causes that tinyreg names, and the verdicts of every checker."""
    wrong = list(mutants(24 if quick else 1260))
    right = list(right_gradients(wrong, 4 if quick else 500))
    given = [(mutant.case, mutant.given) for mutant in wrong]
    told = Counter(score(mutant, with_structure(mutant.case, mutant.given)) for mutant in wrong)
    others = {name: of_values(check) for name, check in checkers().items() if name != NUMDIFFTOOLS}
    others["tinyreg check_gradient"] = of_values(tr.check_gradient)
    lines = [["", "mutants found", "inconclusive", "right ones rejected", "inconclusive", "raised"]]
    for name, check in {"tinyreg check_gradients": with_structure, **others}.items():
        found, alarms = verdicts(check, given), verdicts(check, right)
        lines.append(
            [
                name,
                f"{found['rejected']}/{len(wrong)}",
                str(found["inconclusive"]),
                f"{alarms['rejected']}/{len(right)}",
                str(alarms["inconclusive"]),
                str(found["raised"] + alarms["raised"]),
            ]
        )
    shares = ", ".join(f"{text} {told[name] / len(wrong):.1%}" for name, text in SCORES.items())
    head = f"{len(wrong)} mutants: mistakes in the backward pass of networks of 1 to 20 layers"
    said = f"what check_gradients says of them: {shares}\n"
    return "\n".join([head, said, *text_table(lines, rule=True)])


# ------------------------------------------------------------ how long they take


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The median of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def torch_times(net, X, y, repeats: int) -> dict[str, float]:
    """gradcheck of torch's own network, with the same parameters, samples and loss."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(net.sizes[0], net.sizes[1]),
        torch.nn.ReLU(),
        torch.nn.Linear(net.sizes[1], net.sizes[2]),
    ).double()
    with torch.no_grad():
        for layer, W, b in zip((model[0], model[2]), net.weights, net.biases, strict=True):
            layer.weight[...] = torch.from_numpy(W.T.copy())
            layer.bias[...] = torch.from_numpy(b.copy())
    names = [name for name, _ in model.named_parameters()]
    inputs = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    samples, labels = torch.from_numpy(X), torch.from_numpy(y)

    def loss(*values):
        outputs = torch.func.functional_call(model, dict(zip(names, values, strict=True)), samples)
        return torch.nn.functional.cross_entropy(outputs, labels)

    ours = tr.Objective(net, tr.SoftmaxCrossEntropy()).value(X, y)
    assert abs(loss(*inputs).item() - ours) < 1e-12, "the two networks differ"

    def run(fast: bool) -> None:
        assert torch.autograd.gradcheck(loss, inputs, fast_mode=fast)

    return {
        "torch gradcheck": seconds(lambda: run(False), repeats),
        "torch gradcheck, fast mode": seconds(lambda: run(True), repeats),
    }


def times(quick: bool) -> dict[str, float]:
    """Seconds for the 4,810 parameters of a 64-64-10 ReLU net on 32 digits."""
    X, y = digits(32)
    net = tr.MLP((64, 64, 10), seed=0)
    objective = tr.Objective(net, tr.SoftmaxCrossEntropy())
    f, gradient, x = as_function(objective, X, y, None)
    repeats = 1 if quick else 3
    told = {"tinyreg check_gradients": seconds(lambda: tr.check_gradients(objective, X, y), 5)}
    if installed("torch"):
        told |= torch_times(net, X, y, repeats)
    told["scipy check_grad"] = seconds(lambda: scipy_check(f, gradient, x), repeats)
    told["tinyreg check_gradient"] = seconds(lambda: tinyreg_check(f, gradient, x), 1)
    if installed("jax"):
        told["jax check_grads"] = seconds(lambda: jax_check(f, gradient, x), repeats)
    return told


def large() -> str:
    """All 50,890 parameters of a 784-64-10 net on 32 samples, with an L1 penalty."""
    rng = np.random.default_rng(0)
    X = rng.random((32, 784)) * (rng.random((32, 784)) < 0.2)
    y = rng.integers(0, 10, 32)
    objective = tr.Objective(tr.MLP((784, 64, 10)), tr.SoftmaxCrossEntropy(), tr.L1(1e-4))
    took = seconds(lambda: tr.check_gradients(objective, X, y).raise_if_failed(), 3)
    tracemalloc.start()
    tr.check_gradients(objective, X, y)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return f"784-64-10, {objective.net.n_params:,} parameters: {took:.2f} s, {peak:.0f} MiB at most"


def deep(quick: bool) -> str:
    """Fifty hidden layers of 256 units: every parameter judged, on one sample."""
    layers = 5 if quick else 50
    rng = np.random.default_rng(0)
    objective = tr.Objective(tr.MLP((20, *[256] * layers, 2)), tr.SoftmaxCrossEntropy())
    X, y = rng.normal(size=(1, 20)), np.ones(1, int)
    took = seconds(lambda: tr.check_gradients(objective, X, y).raise_if_failed(), 1)
    return f"{layers} hidden layers of 256, {objective.net.n_params:,} parameters: {took:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer nets, one run of each")
    quick = parser.parse_args().quick

    found_with_structure = sum(not _report(bug).ok for bug in BUGS)
    cases = list(right_cases(15 if quick else 100))
    alarms = sum(
        not tr.check_gradients(F, X, y, sample_weight=weight).ok for F, X, y, weight in cases
    )
    took = times(quick)
    rows = [
        (
            "tinyreg check_gradients",
            took["tinyreg check_gradients"],
            f"{found_with_structure}/{len(BUGS)} *",
            f"{alarms}/{len(cases)}",
            0,
        )
    ]
    for name, check in checkers().items():
        found, planted, raised = bugs_found(check)
        alarm, nets, raised_too = false_alarms(check, cases)
        rows.append(
            (name, took.get(name), f"{found}/{planted}", f"{alarm}/{nets}", raised + raised_too)
        )

    print(machine_line("scipy", "torch", "jax", "numdifftools"))
    print("\nseconds: 4,810 parameters of a 64-64-10 ReLU net on 32 digits; ratio to tinyreg's")
    print("bugs: planted gradients found wrong; alarms: right gradients rejected, half of them on")
    print("ReLU nets trained to sparsity by proximal L1; raised: exceptions in place of verdicts")
    print("* with check_backward and check_penalty, and the bugs of prox and residual as well\n")
    lines = [["", "seconds", "ratio", "bugs", "alarms", "raised"]]
    for name, spent, found, alarm, raised in rows:
        time_told = [f"{spent:.3f}", f"{spent / rows[0][1]:.1f}"] if spent else ["", ""]
        lines.append([name, *time_told, found, alarm, str(raised)])
    print("\n".join(text_table(lines, rule=True)))
    print("\njax checks one random direction, and torch's fast mode a few, not each parameter")
    print(large())
    print(deep(quick))
    print()
    print(mutation_study(quick))


def _report(bug) -> tr.Report:
    with bug.plant(), np.errstate(all="ignore"):
        return bug.report()


if __name__ == "__main__":
    main()
