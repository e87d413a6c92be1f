"""Sparse tables: the numbers, memory and time of the dense ones, and the time of scikit-learn.

    python -m benchmarks.sparse [--threads N]

**Sparse against dense.** One training of two epochs on the same table, 20,000 × 2,000 with 1 % of
its entries, as CSR and as an array: the largest difference of a parameter, the seconds, and the
peak of the memory that NumPy and SciPy asked for (tracemalloc), without the table itself.

**Ratings.** 100,000 ratings, one-hot users and items, 10,000 columns: an epoch of Adam at 16 hidden
units in batches of 256, beside scikit-learn's MLPRegressor on the same CSR. The faster of three, in
turn, counts. Random numbers: the clock does not care.

**Text.** A logistic L1 model on 3,300 × 58,000 at 0.3 %, words as frequent as in a text (Zipf),
from zero to a duality gap of 1e-4, at two λ: `minimize`, beside saga and liblinear. Their gaps are
measured by the same certificate, at ever smaller tolerances until one is small enough, or a call
takes half a minute. liblinear also penalises the intercept; its column of ones is scaled up
(intercept_scaling) so that this costs little, and what is left shows in its gap.
"""

from __future__ import annotations

import os
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor

import tinyreg as tr
from tinyreg.render.text import text_table
from tinyreg.solvers.duality import duality_gap

GAP = 1e-4
PATIENCE = 30.0  # seconds


def timed(work: Callable[..., Any], *arguments: Any, **more: Any) -> tuple[float, Any]:
    """The seconds that a call took, and what came of it."""
    began = time.perf_counter()
    result = work(*arguments, **more)
    return time.perf_counter() - began, result


def random_table(n: int, d: int, shares: np.ndarray, seed: int) -> sparse.csr_array:
    """An n × d table of ones, column j with this share of them."""
    rng = np.random.default_rng(seed)
    counts = rng.binomial(n, shares)
    rows = np.concatenate([rng.choice(n, count, replace=False) for count in counts])
    places = rows.astype(np.int32), np.repeat(np.arange(d, dtype=np.int32), counts)
    return sparse.coo_array((np.ones(len(rows)), places), shape=(n, d)).tocsr()


def against_dense() -> list[str]:
    """The table of the first part."""
    X = random_table(20_000, 2_000, np.full(2_000, 0.01), seed=0)
    y = np.random.default_rng(1).integers(0, 5, X.shape[0])
    rows, ends = [["X", "s", "X, MiB", "more at the peak, MiB"]], []
    for name, table in (("array", X.toarray()), ("CSR", X)):

        def train(table: Any = table) -> tr.MLP:
            net = tr.MLP((X.shape[1], 32, 5), seed=0)
            how = {"loss": tr.SoftmaxCrossEntropy(), "penalty": tr.L1(1e-4), "method": "proximal"}
            tr.fit(net, table, y, epochs=2, batch_size=256, **how)
            return net

        seconds, net = timed(train)
        ends.append(net.params)
        tracemalloc.start()
        train()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = table.nbytes if name == "array" else X.data.nbytes + X.indices.nbytes
        rows.append([name, f"{seconds:.2f}", f"{kept / 2**20:.0f}", f"{peak / 2**20:.0f}"])
    off = np.abs(ends[0] - ends[1]).max()
    assert off < 1e-10, off
    return [*text_table(rows, rule=True), f"largest difference of a parameter: {off:.1e}"]


def ratings() -> list[str]:
    """The table of the second part."""
    rng, n, users, items = np.random.default_rng(0), 100_000, 1_000, 9_000
    columns = np.stack([rng.integers(0, users, n), users + rng.integers(0, items, n)], axis=1)
    places = columns.ravel().astype(np.int32), np.arange(0, 2 * n + 1, 2, dtype=np.int32)
    X, y = sparse.csr_array((np.ones(2 * n), *places), shape=(n, users + items)), rng.normal(size=n)

    def peer() -> None:
        MLPRegressor(hidden_layer_sizes=(16,), batch_size=256, max_iter=1).fit(X, y)

    def ours(penalty: Any, method: str) -> None:
        how = {"loss": tr.SquaredError(), "penalty": penalty, "method": method, "batch_size": 256}
        tr.fit(tr.MLP((X.shape[1], 16, 1)), X, y, epochs=1, **how)

    contenders: dict[str, tuple[Any, ...]] = {
        "scikit-learn, L2": (peer,),
        "L2": (ours, tr.L2(1e-4), "subgradient"),
        "L1, subgradient": (ours, tr.L1(1e-4), "subgradient"),
        "L1, prox": (ours, tr.L1(1e-4), "proximal"),
        "GroupLasso, prox": (ours, tr.GroupLasso(1e-4, axis=1), "proximal"),
    }
    best = dict.fromkeys(contenders, np.inf)
    for _ in range(3):
        for name, work in contenders.items():
            best[name] = min(timed(*work)[0], best[name])
    least = best["scikit-learn, L2"]
    rows = [[name, f"{s:.2f}", f"{s / least:.2f}"] for name, s in best.items()]
    return text_table([["an epoch of 100,000 ratings", "s", "ratio"], *rows], rule=True)


def text() -> list[str]:
    """The table of the third part."""
    n, d, rng = 3_300, 58_000, np.random.default_rng(0)
    shares = 1 / (np.arange(d) + 5.0) ** 0.9
    X = random_table(n, d, np.minimum(0.003 * d * shares / shares.sum(), 0.6), seed=0)
    words = rng.choice(3_000, 60, replace=False)
    z = X[:, words] @ (2 * rng.normal(size=60))
    y = (z - np.median(z) + 0.5 * z.std() * rng.logistic(size=n) > 0).astype(int)
    loss, rows = tr.SigmoidCrossEntropy(), [["λ/λmax", "solver", "s", "gap", "words kept"]]
    for share in (0.1, 0.03):
        lam = share * tr.lambda_max(X, y, loss)
        F = tr.Objective(tr.MLP((d, 1)), loss, tr.L1(lam))
        problem = F.on(X, y)

        def told(solver: str, s: float, theta: Any, share: float = share, on: Any = problem) -> Any:
            gap, kept = duality_gap(on, theta, on.value(theta)) or 0.0, (theta[:d] != 0).sum()
            return [f"{share}", solver, f"{s:.2f}", f"{gap:.1e}", f"{kept}"]

        for solver in ("fista", "lbfgs"):
            F.net.params = np.zeros(d + 1)
            seconds, found = timed(tr.minimize, F, X, y, solver, tol=GAP, max_iter=10_000)
            assert found.success, found.message
            rows.append(told(f"minimize, {solver}", seconds, found.x))
        for solver, more in (("saga", {}), ("liblinear", {"intercept_scaling": 100.0})):
            how: dict[str, Any] = {"l1_ratio": 1, "C": 1 / (lam * n), "max_iter": 10_000, **more}
            for tol in 10.0 ** -np.arange(3, 9):
                peer = LogisticRegression(solver=solver, tol=tol, **how)
                seconds, _ = timed(peer.fit, X, y)
                theta = np.append(peer.coef_, peer.intercept_)
                found = told(f"scikit-learn, {solver}", seconds, theta)
                if float(found[3]) <= GAP or seconds > PATIENCE:
                    break
            rows.append(found)
    return text_table(rows, left=2, rule=True)


def main() -> None:
    """Print the three tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(machine_line("scikit-learn", "scipy"), end="\n\n")
    for part in (against_dense, ratings, text):
        print("\n".join(part()), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
