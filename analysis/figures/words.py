"""What figures say: names of runs, subtitles, notes on smoothing, seeds, repeated data, validation sets."""

from collections.abc import Sequence

from analysis.figures.curves import Smoothing
from analysis.readers.run_logs import RunLog

RUNS = {  # in the order of the paper's figures 1, 2, 3
    "run24": "a tenth of the data, constant rate",
    "run23": "all data, constant rate",
    "run20": "all data, cosine rate: the final recipe",
}
LOSS = "loss (nats per token)"
OWN = "This project's own run, not the paper's curve."
RAW = "every logged step"
REPEATS = 1.5  # passes over the data from which a run is said to repeat it

Logs = dict[str, list[RunLog]]  # run → its seeds


def name(run: str) -> str:
    """`run20` as `Run 20`, `ladder_data_half` as `ladder data half`; names of others as they are."""
    number = run.removeprefix("run")
    return f"Run {number}" if number.isdecimal() else run.replace("_", " ")


def subtitle(logs: Sequence[RunLog], seeds: str) -> str:
    """Scale, size, length and number of seeds of what a figure shows."""
    parameters = logs[0].header.get("params_total")
    tokens = max(log.train["tokens_seen"].max() for log in logs)
    parts = [f"scale {logs[0].run.scale}"]
    parts += [f"{short(parameters)} parameters"] if parameters else []
    parts += [f"{short(tokens)} tokens", f"{seeds} seed{'' if seeds == '1' else 's'}"]
    return " · ".join(parts)


def n_seeds(logs: Logs) -> str:
    """How many seeds the runs have: `5`, or `2–10` if it differs."""
    numbers = [len(seeds) for seeds in logs.values()]
    return "–".join(map(str, sorted({min(numbers), max(numbers)})))


def short(count: float) -> str:
    """A count with its unit: 1358006272 as `1.36 B`."""
    for unit, letter in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"


def progress(logs: Sequence[RunLog]) -> str:
    """What the x axis counts: tokens, or steps where a log of another trainer does not know its tokens."""
    return logs[0].header.get("progress", "tokens seen")


def smoothed(smoothing: Smoothing, logs: Sequence[RunLog]) -> str:
    """A sentence on the smoothing, for notes."""
    unit = progress(logs).split()[0]
    log = max(logs, key=lambda log: float(log.train["tokens_seen"].max()))
    steps = ""
    if unit == "tokens":
        per_step = float(log.train["tokens_seen"].max()) / max(1, int(log.train["step"].max()))
        steps = f" ({smoothing.half_life / per_step:.3g} steps)"
    mean = "geometric mean" if smoothing.geometric else "mean"
    half_life = short(smoothing.half_life)
    return f"Smoothed: {mean} whose weights halve every {half_life} {unit}{steps} to both sides."


def own(logs: Sequence[RunLog]) -> str:
    """Whose run it is: this project's, or nothing for the log of another trainer."""
    return "" if any("source" in log.header for log in logs) else OWN


def band(logs: Sequence[RunLog]) -> str:
    """A sentence on the band for a figure with several seeds."""
    several = len({log.run.seed for log in logs}) > 1
    return "Line: mean of the seeds; band: lowest to highest." if several else ""


def passes_over_data(logs: Sequence[RunLog]) -> float:
    """How often a run goes over its data, from its header; 1 where an old log does not say."""
    unique = sum((logs[0].header.get("unique_tokens") or {}).values())
    return float(logs[0].train["tokens_seen"].max()) / unique if unique else 1.0


def passes(logs: Sequence[RunLog]) -> str:
    """A sentence on a run that repeats its data, whose loss falls in steps; empty for another."""
    n_passes = passes_over_data(logs)
    if n_passes < REPEATS:
        return ""
    return (
        f"The run goes over the same data {n_passes:.0f} times, so its loss falls in steps: what a pass "
        "teaches about a text shows when that text comes round again."
    )


def other_validation(logs: Sequence[RunLog]) -> str:
    """A warning where the validation losses of logs that share a figure cannot be compared, else nothing."""
    if len(groups := _alike(logs, "tokenizer_sha256")) > 1:
        return (
            "Warning: trained with different tokenizers, so losses per token cannot be compared: "
            f"{' against '.join(groups)}."
        )
    if len(groups := _alike(logs, "val_fingerprint")) > 1:
        return (
            "Warning: validated on different texts, so validation losses cannot be compared: "
            f"{' against '.join(groups)}."
        )
    return ""


def _alike(logs: Sequence[RunLog], key: str) -> list[str]:
    """The runs with the same value in their headers, as words for each value; old logs may have none."""
    groups: dict[str, list[str]] = {}
    for log in logs:
        if value := log.header.get(key):
            groups.setdefault(str(value), []).append(f"{log.run.run}/seed{log.run.seed}")
    return [f"{', '.join(runs)} ({value[:8]})" for value, runs in sorted(groups.items())]


def note(*sentences: str) -> str:
    """The sentences that are not empty, as one paragraph."""
    return " ".join(sentence for sentence in sentences if sentence)
