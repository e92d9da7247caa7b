"""Effects between runs with intervals: paired by seed and by validation document.

Pure functions from log frames (analysis/readers/run_logs.py) to numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.readers.run_logs import RunLog

CONFIDENCE = 0.95
N_RESAMPLES = 2000  # of documents; the interval's ends then vary by about 1 % of its width
SEED = 0  # the same logs give the same interval


@dataclass(frozen=True)
class Effect:
    """What run B changes against run A in bits per byte, the mean of the domains; below 0 is better.

    `low` and `high` bound the mean effect with CONFIDENCE. NaN where nothing can be said about its spread.
    """

    mean: float
    low: float
    high: float
    by_seed: dict[int, float]
    n_documents: int  # that both runs were judged on; 0 where the logs do not tell documents apart
    n_left_out: int  # documents that one of the runs was not judged on
    note: str  # what the interval covers
    document_variance: float = 0.0  # of the mean, when the documents are drawn anew


def validation_curve(log: RunLog) -> pd.DataFrame:
    """Columns `tokens_seen bits_per_byte`: the shared validation set, the mean of its domains."""
    val = log.val[log.val["domain"] != "all"]
    return val.groupby("step")[["tokens_seen", "bits_per_byte"]].mean().reset_index(drop=True)


def effect(a: Mapping[int, RunLog], b: Mapping[int, RunLog]) -> Effect:
    """The effect of B against A at the end of the runs, from the logs of their common seeds.

    The difference of a seed is that of its two runs on the documents that both were judged on. The interval
    is mean ± t(n - 1) · sqrt(s² / n + v): s is the standard deviation over the n seeds, v the variance of the
    mean when the documents of each domain are resampled, alike for both runs and all seeds (paired
    bootstrap: Efron and Tibshirani 1993, chapters 6 and 8). With one seed there is no s, and the normal
    quantile takes the place of t. Raises ValueError where A and B have no seed in common.
    """
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        raise ValueError("no seed in common")
    if any(log.val_document.empty for run in (a, b) for log in run.values()):
        by_seed = {s: _final(b[s]) - _final(a[s]) for s in seeds}
        note = "the logs tell no documents apart: the interval covers the spread between seeds alone"
        return interval(by_seed, 0.0, 0, 0, note)
    tables = {s: _paired(a[s].val_document, b[s].val_document) for s in seeds}
    common = tables[seeds[0]].index
    n_left_out = max(len(run[s].val_document) for run in (a, b) for s in seeds) - len(common)
    by_seed = {s: float(differences(table)[0]) for s, table in tables.items()}
    variance = variance_over_documents([tables[s].reindex(common) for s in seeds])
    note = "the interval covers documents and seeds"
    if len(seeds) == 1:
        note = "one seed: the interval covers the choice of documents, not the spread between seeds"
    return interval(by_seed, variance, len(common), n_left_out, note)


def _final(log: RunLog) -> float:
    return float(validation_curve(log)["bits_per_byte"].iloc[-1])


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Columns `nats_a nats_b n_bytes` of the documents in both, by (domain, document)."""
    frames = [
        frame.assign(nats=frame["loss_nats"] * frame["n_tokens"]).set_index(["domain", "document"])
        for frame in (a, b)
    ]
    columns = {"nats_a": frames[0]["nats"], "nats_b": frames[1]["nats"], "n_bytes": frames[0]["n_bytes"]}
    return pd.concat(columns, axis=1, join="inner").sort_index()


def differences(table: pd.DataFrame, weights: np.ndarray | None = None) -> np.ndarray:
    """Bits per byte of B less those of A, the mean of the domains.

    `table`: columns `nats_a nats_b n_bytes` by (domain, document). A value for each row of `weights`, which
    say how often documents count (default: one row, each once).
    """
    if weights is None:
        weights = np.ones((1, len(table)))
    nats = (table["nats_b"] - table["nats_a"]).to_numpy()
    n_bytes = table["n_bytes"].to_numpy(float)
    domains = table.index.get_level_values("domain")
    of_domain = [
        (weights[:, members] @ nats[members]) / (weights[:, members] @ n_bytes[members])
        for members in (domains == domain for domain in np.unique(domains))
    ]
    return np.mean(of_domain, axis=0) / math.log(2)


def variance_over_documents(tables: Sequence[pd.DataFrame]) -> float:
    """Variance of the mean difference over seeds when each domain's documents are drawn anew."""
    rng = np.random.default_rng(SEED)
    domains = tables[0].index.get_level_values("domain")
    weights = np.zeros((N_RESAMPLES, len(domains)))
    for domain in np.unique(domains):
        members = np.flatnonzero(domains == domain)
        shares = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), shares, size=N_RESAMPLES)
    return float(np.var(np.mean([differences(table, weights) for table in tables], axis=0), ddof=1))


def interval(
    by_seed: dict[int, float], variance: float, n_documents: int, n_left_out: int, note: str
) -> Effect:
    """The effect with its interval, as `effect` says, from that of each seed and documents' variance."""
    n = len(by_seed)
    values = np.array(list(by_seed.values()))
    mean = float(values.mean())
    if n > 1:
        half = t_quantile(n - 1) * math.sqrt(float(values.var(ddof=1)) / n + variance)
    else:
        half = t_quantile(math.inf) * math.sqrt(variance) if n_documents > 1 else math.nan
    return Effect(mean, mean - half, mean + half, by_seed, n_documents, n_left_out, note, variance)


def t_quantile(degrees_of_freedom: float, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| <= t) = `confidence` for Student's distribution; infinite degrees: the normal one.

    By bisection of the integral of the density.
    """
    nu = min(degrees_of_freedom, 1e6)
    log_constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)

    def inside(t: float) -> float:
        x = np.linspace(0.0, t, 20_001)
        return 2 * float(np.trapezoid(np.exp(log_constant - (nu + 1) / 2 * np.log1p(x * x / nu)), x))

    low, high = 0.0, 1000.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < confidence else (low, middle)
    return (low + high) / 2


def tokens_to_reach(curve: pd.DataFrame, target: float) -> float | None:
    """Tokens after which a validation curve first is at `target` bits per byte or below; None if never.

    Between two validations the curve is a straight line.
    """
    values, tokens = curve["bits_per_byte"].to_numpy(float), curve["tokens_seen"].to_numpy(float)
    below = np.flatnonzero(values <= target)
    if not len(below):
        return None
    first = below[0]
    if first == 0:
        return float(tokens[0])
    share = (values[first - 1] - target) / (values[first - 1] - values[first])
    return float(tokens[first - 1] + share * (tokens[first] - tokens[first - 1]))
