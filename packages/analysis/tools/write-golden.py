"""Writes src/golden.json: what SciPy, statsmodels and NumPy say of numbers that the tests give to this package.

Run by hand after a change here, in an environment of its own (nothing of the project needs these libraries):

    python -m venv golden && golden/bin/pip install numpy scipy statsmodels
    golden/bin/python packages/analysis/tools/write-golden.py

The file names the versions. Everything is seeded, so that the same versions write the same bytes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import stats
from scipy.stats import _resampling  # fractions and acceleration of BCa; SciPy returns the interval alone
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

OWN_RESAMPLES = 40_000  # of the test that draws its own; bands are four of its Monte Carlo standard errors


def distributions() -> dict:
    t = [(p, df) for p in (1e-5, 0.001, 0.025, 0.4, 0.975) for df in (1, 2.5, 7.3, 40, 1e4, 1e8)]
    return {
        "normal": [{"p": p, "z": float(stats.norm.ppf(p))} for p in (1e-6, 1e-4, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999)],
        "student": [{"p": p, "degreesOfFreedom": df, "t": float(stats.t.ppf(p, df))} for p, df in t],
    }


def documents(rng: np.random.Generator, counts: list[int]) -> list[dict]:
    """Tasks of documents with log-normal lengths and a skewed difference in nats."""
    tasks = []
    for count in counts:
        tokens = np.maximum(2, np.round(60 * np.exp(0.8 * rng.standard_normal(count))))
        nats = tokens * (-0.05 + 0.15 * (rng.gamma(1.5, size=count) - 1.5))
        nats += np.sqrt(tokens) * rng.standard_normal(count)
        tasks.append({"tokens": tokens.astype(int).tolist(), "nats": np.round(nats, 6).tolist()})
    return tasks


def macro_difference(tasks: list[dict]):
    """The statistic as SciPy takes it: one sample of document numbers a task, paired by being the same numbers."""

    def statistic(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        rates = []
        for task, numbers in zip(tasks, drawn, strict=True):
            own = numbers.astype(int)
            rates.append(np.array(task["nats"])[own].sum(axis) / np.array(task["tokens"])[own].sum(axis))
        return sum(rates) / len(rates)

    return tuple(np.arange(len(task["nats"]), dtype=float) for task in tasks), statistic


def bootstrap() -> dict:
    """SciPy's intervals of given replicates, and bands for those of replicates that are drawn anew."""
    tasks = documents(np.random.default_rng(3), [9, 6, 14, 12])
    samples, statistic = macro_difference(tasks)

    def run(method: str, resamples: int, seed: int):
        return stats.bootstrap(samples, statistic, n_resamples=resamples, method=method, batch=2000, rng=seed)

    few = {method: run(method, 999, 1) for method in ("percentile", "BCa")}
    replicates = few["BCa"].bootstrap_distribution
    low, high, acceleration = _resampling._bca_interval(samples, statistic, -1, 0.025, replicates, 2000, np)
    estimate = float(statistic(*samples))
    many = run("percentile", 1_000_000, 2).bootstrap_distribution
    z0 = stats.norm.ppf((many < estimate).mean())

    def band(z: float, bias_error: float) -> list[float]:
        """Between which the quantile at Phi(z) lies: 4 standard errors of a quantile, and of z0 where it enters."""
        p = stats.norm.cdf(z)
        error = np.hypot(np.sqrt(p * (1 - p) / OWN_RESAMPLES) / stats.norm.pdf(z), bias_error)
        return np.quantile(many, stats.norm.cdf([z - 4 * error, z + 4 * error])).tolist()

    def bca(z: float) -> float:
        return z0 + (z0 + z) / (1 - acceleration * (z0 + z))

    bias_error = 2 * np.sqrt(0.25 / OWN_RESAMPLES) / stats.norm.pdf(0)
    z = stats.norm.ppf(0.975)
    return {
        "tasks": tasks,
        "estimate": estimate,
        "replicates": replicates.tolist(),
        "percentile": list(np.percentile(replicates, [2.5, 97.5])),
        "bca": list(few["BCa"].confidence_interval),
        "fractions": [float(low), float(high)],
        "acceleration": float(acceleration),
        "ownResamples": OWN_RESAMPLES,
        "percentileBands": [band(-z, 0), band(z, 0)],
        "bcaBands": [band(bca(-z), bias_error), band(bca(z), bias_error)],
        "standardErrorOfReplicates": float(many.std()),
    }


def welch() -> dict:
    """Two tasks of documents of one length: mean of two means, so half of Welch's difference with one sign turned."""
    rng = np.random.default_rng(4)
    a, b = np.round(rng.normal(0.3, 1, 7), 6), np.round(rng.normal(-0.1, 3, 12), 6)
    test = stats.ttest_ind(a, -b, equal_var=False)
    interval = test.confidence_interval()
    return {
        "tasks": [a.tolist(), b.tolist()],
        "difference": float(a.mean() + b.mean()) / 2,
        "standardError": float(interval.high - interval.low) / 4 / float(stats.t.ppf(0.975, test.df)),
        "degreesOfFreedom": float(test.df),
    }


def two_way() -> dict:
    """Seeds crossed with documents of one length: variance of the grand mean from statsmodels' mean squares."""
    rng = np.random.default_rng(5)
    seeds, count = 4, 15
    y = 0.2 + 0.5 * rng.standard_normal((seeds, 1)) + rng.standard_normal((1, count))
    y = np.round(y + 0.3 * rng.standard_normal((seeds, count)), 6)
    table = pandas.DataFrame(
        {"y": y.ravel(), "seed": np.repeat(range(seeds), count), "document": np.tile(range(count), seeds)}
    )
    squares = sm.stats.anova_lm(ols("y ~ C(seed) + C(document)", table).fit())
    mean_squares = squares["sum_sq"] / squares["df"]
    variance = (mean_squares["C(seed)"] + mean_squares["C(document)"] - mean_squares["Residual"]) / y.size
    parts = [mean_squares[name] / y.size for name in ("C(seed)", "C(document)")]
    df = variance**2 / (parts[0] ** 2 / (seeds - 1) + parts[1] ** 2 / (count - 1))
    return {"y": y.tolist(), "standardError": float(np.sqrt(variance)), "degreesOfFreedom": float(df)}


def holm() -> list[dict]:
    cases = [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.02], [0.2], [0.001, 0.001, 0.9, 0.04, 0.04, 0.3], [0.9, 0.8]]
    return [{"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()} for p in cases]


def spearman() -> list[dict]:
    rng = np.random.default_rng(6)
    cases = []
    for count, ties in ((25, False), (12, True), (8, False), (6, True), (4, False)):
        x = rng.integers(0, 6, count) if ties else np.round(rng.normal(size=count), 3)
        y = np.round(0.6 * x + rng.normal(size=count), 3)
        rho, p = stats.spearmanr(x, y)
        if count <= 8:
            with warnings.catch_warnings(action="ignore"):
                p = stats.permutation_test(
                    (x,), lambda x, y=y: abs(stats.spearmanr(x, y)[0]), permutation_type="pairings",
                    vectorized=False, n_resamples=np.inf, alternative="greater",
                ).pvalue  # fmt: skip
        method = "exact" if count <= 8 else "t"
        cases.append({"x": x.tolist(), "y": y.tolist(), "rho": float(rho), "p": float(p), "method": method})
    return cases


def weighted_line() -> dict:
    rng = np.random.default_rng(7)
    x, errors = np.round(rng.uniform(7, 12, 11), 4), np.round(rng.uniform(0.01, 0.1, 11), 4)
    y = np.round(0.3 - 0.04 * x + errors * rng.standard_normal(11), 6)
    fit = sm.WLS(y, sm.add_constant(x), weights=errors**-2.0).fit()
    return {
        "x": x.tolist(), "y": y.tolist(), "weights": (errors**-2.0).tolist(),
        "intercept": float(fit.params[0]), "slope": float(fit.params[1]),
        "standardError": float(fit.bse[1]), "p": float(fit.pvalues[1]), "degreesOfFreedom": float(fit.df_resid),
    }  # fmt: skip


def adapter_map() -> dict:
    rng = np.random.default_rng(8)
    changes = np.round(rng.standard_normal((7, 40)) * np.geomspace(3, 0.1, 40), 4)
    gram = changes @ changes.T
    centred = changes - changes.mean(0)
    _, singular, _ = np.linalg.svd(centred)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    points = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :2]
    points *= np.sign(points[np.abs(points).argmax(0), range(2)])
    explained = (singular**2 / (singular**2).sum())[:2]
    return {"gram": gram.tolist(), "points": points.tolist(), "explained": explained.tolist()}


golden = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
    "distributions": distributions(),
    "bootstrap": bootstrap(),
    "welch": welch(),
    "twoWay": two_way(),
    "holm": holm(),
    "spearman": spearman(),
    "weightedLine": weighted_line(),
    "adapterMap": adapter_map(),
}
path = Path(__file__).parents[1] / "src" / "golden.json"
path.write_text(json.dumps(golden) + "\n")
