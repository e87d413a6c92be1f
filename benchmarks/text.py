"""Text: which words tell whether the owner of a site approves of an advertisement?

    python -m benchmarks.text [--figures DIR]

4,143 advertisements with the pages that they lead to, as `dmba` ships them (farm ads, collected by
Mesterharm and Pazzani, 2011): words are stems, those of the advertisement itself begin with `ad-`.
X says which words occur, in a CSR matrix. A text often stands there with several pages; all of them
are kept on one side of a split, as a fifth of the ads, held back, would else be judged too well.

A linear model with L1 comes first, by `minimize` at each of eight λ. Five folds choose the λ: the
largest whose accuracy is within one standard error of the best. scikit-learn's liblinear must end
at the same objective, within the duality gap, with nearly the same words, or the script fails. Then
networks with 8 hidden units on the same words, by subgradient and by prox.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from benchmarks.machine import machine_line, thread_settings

os.environ |= thread_settings(default=1)

import dmba
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

import tinyreg as tr
from tinyreg.render.text import text_table

LOSS = tr.SigmoidCrossEntropy()
LAMS = 10 ** -np.arange(1.75, 3.75, 0.25)
LAMS_NETWORK = (1e-3, 3e-4)
SHOWN = 12  # words of each sign


def load():
    """X, y, X_test, y_test, the texts to train on, the words; y is 1 where the owner approves."""
    ads = dmba.load_data("farm-ads.csv", header=None)
    approved, pages = (ads[0] == 1).to_numpy(dtype=float), ads[1]
    texts = np.array([" ".join(w for w in page.split() if w.startswith("ad-")) for page in pages])
    split = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(pages, groups=texts)
    train, test = next(split)
    words = CountVectorizer(token_pattern=r"\S+", binary=True, dtype=np.float64)
    X, X_test = words.fit_transform(pages[train]), words.transform(pages[test])
    y, y_test = approved[train], approved[test]
    return X, y, X_test, y_test, texts[train], words.get_feature_names_out()


def accuracy(net: tr.MLP, X, y) -> float:
    """The share of right answers."""
    return float(np.mean((net.forward(X)[:, 0] > 0) == y))


def walk(X, y):
    """The linear model at its optimum for each λ, from where the last one ended: F and result."""
    net = tr.MLP((X.shape[1], 1))
    net.params = np.zeros(net.params.size)
    for lam in LAMS:
        F = tr.Objective(net, LOSS, tr.L1(lam))
        result = tr.minimize(F, X, y, tol=1e-4, max_iter=5000)
        assert result.success, result.message
        yield F, result


def cross_validated(X, y, texts) -> tuple[np.ndarray, np.ndarray]:
    """The mean accuracy over five folds at each λ, and its standard error."""
    scores = [
        [accuracy(F.net, X[held], y[held]) for F, _ in walk(X[kept], y[kept])]
        for kept, held in GroupKFold(5).split(X, y, texts)
    ]
    return np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1) / 5**0.5


def liblinear(lam: float, X, y) -> np.ndarray:
    """The parameters that scikit-learn finds; it penalises the bias, here a thousandfold less."""
    C = 1 / (lam * len(y))
    model = LogisticRegression(
        C=C, l1_ratio=1, solver="liblinear", intercept_scaling=1000, tol=1e-5, max_iter=1000
    ).fit(X, y)
    return np.append(model.coef_, model.intercept_)


def linear(X, y, X_test, y_test, texts) -> tuple[list[list[str]], np.ndarray, dict]:
    """The table; the weights at the one-standard-error λ; words and accuracy, for the picture."""
    means, errors = cross_validated(X, y, texts)
    best = int(np.argmax(means))
    chosen = int(np.argmax(means >= means[best] - errors[best]))  # the first, so the largest λ
    rows = [["λ", "words", "gap", "five folds", "test", "scikit-learn: words", "F − F(minimize)"]]
    curve, weights = [], None
    for i, (F, result) in enumerate(walk(X, y)):
        lam, kept = F.penalty.lam, result.x[:-1] != 0
        theirs = liblinear(lam, X, y)
        above, others = F.value(X, y, theirs) - result.fun, np.sum((theirs[:-1] != 0) != kept)
        assert abs(above) <= result.gap, "liblinear ends at another objective"
        assert others <= 2, "liblinear keeps other words"
        curve.append((np.sum(kept), accuracy(F.net, X_test, y_test)))
        if i == chosen:
            weights = result.x[:-1].copy()
        rows.append([
            f"{'*' * (i == best)}{'+' * (i == chosen)}{lam:.1e}", str(curve[-1][0]),
            f"{result.gap:.0e}", f"{100 * means[i]:.1f} ± {100 * errors[i]:.1f} %",
            f"{100 * curve[-1][1]:.1f} %", str(np.count_nonzero(theirs[:-1])), f"{above:.0e}",
        ])  # fmt: skip
    return rows, weights, {"linear, L1 by minimize": curve}


def networks(X, y, X_test, y_test) -> tuple[list[list[str]], dict]:
    """The table, and words and accuracy, for the picture."""
    rows = [["8 hidden units", "λ", "F", "words", "|w| > 0.001", "weights 0", "test"]]
    points: dict[str, list] = {}

    def report(name: str, F: tr.Objective) -> None:
        W, zeros = F.net.weights[0], np.mean(F.net.params[: F.net.n_weights] == 0)
        kept, large = (np.sum(size.any(axis=1)) for size in (W, np.abs(W) > 1e-3))
        score = accuracy(F.net, X_test, y_test)
        told = f"{F.value(X, y):.4f}", str(kept), str(large), f"{100 * zeros:.1f} %"
        rows.append([name, f"{F.penalty.lam:.0e}", *told, f"{100 * score:.1f} %"])
        points.setdefault(f"8 units, {name}", []).append((kept, score))

    for lam in LAMS_NETWORK:
        for name, method in (("subgradient", "subgradient"), ("prox", "proximal")):
            net = tr.MLP((X.shape[1], 8, 1), seed=0)
            F = tr.Objective(net, LOSS, tr.L1(lam))
            tr.fit(
                net, X, y, loss=LOSS, penalty=F.penalty, method=method,
                optimizer=tr.Adam(1e-3), epochs=20, batch_size=64,
            )  # fmt: skip
            report(f"L1 by {name}", F)
        tr.minimize(F, X, y, max_iter=200)
        report("L1 by prox, then minimize", F)
    return rows, points


def words_of(weights: np.ndarray, words: np.ndarray) -> list[tuple[str, float]]:
    """The largest weights of each sign, from the most negative to the most positive."""
    order = np.argsort(weights)
    ends = [*order[:SHOWN], *order[-SHOWN:]]
    return [(words[i], weights[i]) for i in ends if weights[i]]


def draw(points: dict, largest: list[tuple[str, float]], n_words: int, path: Path) -> None:
    from matplotlib.figure import Figure

    from benchmarks.figures import shrink

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for style, (name, pairs) in zip(("ko-", "C1s", "C0D", "C2^"), points.items(), strict=True):
        kept, scores = np.transpose(pairs)
        left.plot(kept, 100 * scores, style, label=name)
    left.axvline(n_words, color="0.6", lw=1, ls="--", zorder=0)
    left.text(n_words, 83, f"all {n_words} words ", rotation=90, ha="right", va="center")
    left.set(xscale="log", xlabel="words with a weight", ylabel="test accuracy in %")
    left.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.55, 0))
    names, values = zip(*largest, strict=True)
    right.barh(names, values, color=["#D55E00" if value < 0 else "#0072B2" for value in values])
    right.tick_params(axis="y", labelsize="small")
    right.set_xlabel("weight in the linear model (right: the owner approves)")
    figure.savefig(path, dpi=100)
    shrink(path, path)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", metavar="DIR", help="draw text.png there")
    arguments = parser.parse_args()
    print(machine_line("scikit-learn", "dmba"))
    began = time.perf_counter()
    X, y, X_test, y_test, texts, words = load()
    density = X.nnz / (X.shape[0] * X.shape[1])
    print(f"\n{X.shape[0]} ads to train on and {len(y_test)} to test on, {X.shape[1]} words, "
          f"{100 * density:.1f} % of X is not 0; always the commonest answer is right in "
          f"{100 * max(y_test.mean(), 1 - y_test.mean()):.1f} %\n")  # fmt: skip
    rows, weights, points = linear(X, y, X_test, y_test, texts)
    print("\n".join(text_table(rows, rule=True)))
    print(f"* best over five folds, + one-standard-error choice; "
          f"above λ = {tr.lambda_max(X, y, LOSS):.3f} no word is left\n")  # fmt: skip
    largest = words_of(weights, words)
    print(f"the largest of {np.count_nonzero(weights)} weights at the one-standard-error choice")
    for sign, what in ((1, "approved"), (-1, "not approved")):
        told = [f"{word} {value:+.2f}" for word, value in largest if sign * value > 0][::-sign]
        print(f"{what}: {', '.join(told)}")
    print(flush=True)
    rows, more = networks(X, y, X_test, y_test)
    print("\n".join(text_table(rows, rule=True)))
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    if arguments.figures:
        draw(points | more, largest, len(words), Path(arguments.figures, "text.png"))


if __name__ == "__main__":
    main()
