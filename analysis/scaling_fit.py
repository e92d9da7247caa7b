"""Fit the scaling laws of the ladder: L(D), L(N, D), and where compute is best spent.

    python analysis/scaling_fit.py [--scale full|mini|demo] [--logs DIR …] [--other DIR] [--out DIR]

In:  logs of `make ladder` (Run 20 with five sizes of data and five of the model) under $ARXIV_RUNS and logs/.
     --other: a root with the ladder's logs of a second tokenizer, trained with
     `python train/study.py --ladder --out-root DIR tokenizer=…`.
Out: the laws with intervals on standard output; in analysis/out/<scale>/ scaling_fit as PNG, PDF and JSON,
     and with --other scaling_fit_bytes.

N counts all parameters, D the different tokens seen. An exponent from fewer than five sizes is refused. Two
tokenizers are compared in bits per byte over bytes of text. (With a single one both are proportional to those
in tokens, so its exponent is the same.) Exit code 2 if there is no law at all.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

import numpy as np

from analysis.figures import sidecar, style, words
from analysis.figures.scaling import data_tokens, final_loss
from analysis.figures.scaling_laws import Fitted, in_bytes, scaling_laws
from analysis.power_law import LEAST_SIZES, compute_optimal, fit, interval, resampled
from analysis.readers.run_logs import (
    Run,
    RunLog,
    choose_scale,
    find_runs,
    log_roots,
    read_run,
    script_arguments,
)
from analysis.table_text import print_written
from configs.script import UserError, run_main

PAPER = (1.36e9, 52.18e9)  # parameters and tokens of the paper's final run
BASE = ("run20", "run21")  # rungs of the ladder beside those named ladder_*: the base, and half its model


def main() -> int:
    """Fit, print, draw. Raises UserError where no law can be fitted."""
    parser = script_arguments(__doc__, "figures")
    parser.add_argument("--other", type=Path, help="root of a second tokenizer's ladder")
    args = parser.parse_args()
    roots = log_roots(args.logs)
    found = find_runs(roots)
    scale = choose_scale(sorted({run.scale for run in found}), args.scale, roots)
    out = args.out or Path("analysis/out") / scale
    style.use("paper")

    logs = read_ladder(found, scale, roots)
    by_data = fit_data(logs)
    if isinstance(by_data, str):
        raise UserError(by_data)
    print(
        f"L(D) = E + B / D^b of {len(by_data.losses)} runs: E = {by_data.law.floor:.4g} nats, "
        f"b = {by_data.exponent()}"
    )
    written = []
    both = fit_both(logs)
    if isinstance(both, str):
        print(f"L(N, D) is not fitted: {both}")
    else:
        note = describe(both, logs)
        print(note)
        target = PAPER if scale == "full" else base_sizes(logs)
        figure = scaling_laws(both, logs, target, words.note(note, words.own(logs)))
        written += style.save(figure, out / "scaling_fit")
        written.append(sidecar.write(out / "scaling_fit", figure, logs, found))
    if args.other:
        other_found = find_runs([args.other])
        other = read_ladder(other_found, scale, [args.other])
        pairs = [(tokenizer_of(runs), fit_bytes(runs, seed)) for seed, runs in enumerate((logs, other))]
        note = compare(pairs)
        print(note)
        figure = in_bytes(pairs, [*logs, *other], words.note(note, words.own(logs)))
        written += style.save(figure, out / "scaling_fit_bytes")
        written.append(sidecar.write(out / "scaling_fit_bytes", figure, logs, found))
    print_written(written)
    return 0


def read_ladder(found: dict[Run, list[Path]], scale: str, roots: Sequence[Path]) -> list[RunLog]:
    """The logs of the ladder's finished runs. Raises UserError if there is none, or of several tokenizers."""
    logs = []
    for run, files in found.items():
        if run.scale == scale and is_rung(run):
            log = read_run(run, files)
            if can_be_fitted(log):
                logs.append(log)
            else:
                print(f"{run}: is left out: its log has no validation or does not say its parameters")
    where = " and ".join(map(str, roots))
    if not logs:
        raise UserError(f"{where}: no logs of the ladder at scale {scale}: make ladder SCALE={scale}")
    if warning := words.other_validation(logs):
        raise UserError(f"{where}: no law joins these runs. {warning}")
    return logs


def is_rung(run: Run) -> bool:
    """Whether a run is one of the ladder's."""
    return run.run in BASE or run.run.startswith("ladder_")


def can_be_fitted(log: RunLog) -> bool:
    """Whether a log says a loss and a size."""
    return bool(len(log.val) and log.header.get("params_total"))


def base_sizes(logs: Sequence[RunLog]) -> tuple[float, float]:
    """(parameters, tokens) of Run 20; without its log those that most rungs have."""
    at_base = [log for log in logs if log.run.run == "run20"] or logs
    sizes = [(float(log.header["params_total"]), data_tokens(log)) for log in at_base]
    return max(set(sizes), key=sizes.count)


def fit_data(logs: Sequence[RunLog]) -> Fitted | str:
    """L(D) of the runs with the base model, or why there is none."""
    base = base_sizes(logs)[0]
    chosen = [log for log in logs if log.header["params_total"] == base]
    return _fit([[data_tokens(log) for log in chosen]], [final_loss(log) for log in chosen], ["of the data"])


def fit_both(logs: Sequence[RunLog]) -> Fitted | str:
    """L(N, D) of all runs, or why there is none."""
    sizes = [[float(log.header["params_total"]) for log in logs], [data_tokens(log) for log in logs]]
    return _fit(sizes, [final_loss(log) for log in logs], ["of the model", "of the data"])


def fit_bytes(logs: Sequence[RunLog], seed: int) -> Fitted:
    """L(D) in bits per byte over bytes. Raises UserError where there is none."""
    base = base_sizes(logs)[0]
    chosen = [log for log in logs if log.header["params_total"] == base]
    sizes = [data_tokens(log) * bytes_per_token(log) for log in chosen]
    losses = [final_loss(log) / bytes_per_token(log) / math.log(2) for log in chosen]
    fitted = _fit([sizes], losses, ["of the data"], seed)
    if isinstance(fitted, str):
        raise UserError(f"tokenizer {tokenizer_of(logs)}: {fitted}")
    return fitted


def _fit(sizes: list[list[float]], losses: list[float], names: Sequence[str], seed: int = 0) -> Fitted | str:
    counts = [len(set(values)) for values in sizes]
    if short := [f"{n} {name}" for n, name in zip(counts, names, strict=True) if n < LEAST_SIZES]:
        return (
            f"an exponent needs {LEAST_SIZES} sizes, and there are logs of {' and '.join(short)}: "
            "`make ladder` trains them"
        )
    law = fit(sizes, losses)
    if law is None:
        return f"over these {' and '.join(map(str, counts))} sizes the loss does not fall as a power law does"
    return Fitted(sizes, losses, law, resampled(sizes, losses, law, seed=seed))


def describe(fitted: Fitted, logs: Sequence[RunLog]) -> str:
    """L(N, D) in words, and how Run 20 and the paper's run lie to the compute-optimal line."""
    law = fitted.law
    sentences = [
        f"L(N, D) = E + A/N^a + B/D^b of {len(fitted.losses)} runs: E = {law.floor:.4g} nats, "
        f"a = {fitted.exponent(0)}, b = {fitted.exponent(1)}; intervals of 95 % by a bootstrap over runs."
    ]
    most = max(n * d for n, d in zip(*fitted.sizes, strict=True))
    targets = {"Run 20": base_sizes(logs), "The paper's run": PAPER}
    for name, (parameters, tokens) in targets.items():
        if name != "Run 20" and math.isclose(
            parameters * tokens, targets["Run 20"][0] * targets["Run 20"][1], rel_tol=0.01
        ):
            continue
        flops = 6 * parameters * tokens
        best = compute_optimal(law, flops)
        low, high = interval([compute_optimal(other, flops)[0] for other in fitted.others])
        beyond = parameters * tokens / most
        sentences.append(
            f"{name} ({words.short(parameters)} parameters x {words.short(tokens)} tokens): for its compute "
            f"{words.short(best[0])} x {words.short(best[1])} gives the lowest loss ({words.short(low)} to "
            f"{words.short(high)} parameters), {float(law(parameters, tokens) - law(*best)):.3g} nats lower"
            + (f"; extrapolated {beyond:.0f}-fold beyond the largest run." if beyond > 1.5 else ".")
        )
    return " ".join(sentences)


def compare(pairs: Sequence[tuple[str, Fitted]]) -> str:
    """Whether the exponent in bytes differs between two tokenizers, with the interval of the difference."""
    (first, one), (second, other) = pairs
    values = [np.array([law.exponents[0] for law in fitted.others]) for _, fitted in pairs]
    low, high = interval((values[1] - values[0]).tolist())
    moves = "moves" if low > 0 or high < 0 else "does not move measurably"
    return (
        f"In bits per byte over bytes the exponent is {one.exponent()} with tokenizer {first} and "
        f"{other.exponent()} with {second}: it {moves} (difference {low:.3g} to {high:.3g})."
    )


def bytes_per_token(log: RunLog) -> float:
    """Bytes of a token in the run's validation set."""
    last = log.val[(log.val["step"] == log.val["step"].max()) & (log.val["domain"] != "all")]
    return float(last["n_bytes"].sum() / last["n_tokens"].sum())


def tokenizer_of(logs: Sequence[RunLog]) -> str:
    """The name of the tokenizer in the headers."""
    return str(logs[0].header.get("tokenizer", "unknown"))


if __name__ == "__main__":
    run_main(main)
