"""Compare two runs: what the second changes in bits per byte, with an interval.

    python analysis/compare.py run20 run08 [--scale full|mini|demo] [--logs DIR …] [--out DIR]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; where both hold a run, the
first. Out: on the console and in analysis/out/<scale>/compare_<A>_<B>.json the effect of B against A on the
validation set that all runs share, paired by seed and by document (analysis/effects.py), and the tokens
that each needs for the other's final loss; beside it, as .png and .pdf, both learning curves and their ratio.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.effects import CONFIDENCE, Effect, effect, tokens_to_reach, validation_curve
from analysis.figures import axes as panel
from analysis.figures import style
from analysis.readers.run_logs import RunLog, log_roots, read_runs, script_arguments
from analysis.table_text import print_written
from configs.script import UserError, run_main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Seeds = Mapping[int, RunLog]


def mean_curve(seeds: Seeds) -> pd.DataFrame:
    """Columns `tokens_seen bits_per_byte low high`: mean and extremes of the seeds, where all were judged."""
    curves = [validation_curve(log).set_index("tokens_seen")["bits_per_byte"] for log in seeds.values()]
    table = pd.concat(curves, axis=1, join="inner").sort_index()
    return pd.DataFrame(
        {"bits_per_byte": table.mean(axis=1), "low": table.min(axis=1), "high": table.max(axis=1)}
    ).reset_index(names="tokens_seen")


def check_comparable(a: Seeds, b: Seeds) -> None:
    """Raises UserError where nothing can be paired: no common seed, other lengths or validation papers."""
    for log in (*a.values(), *b.values()):
        if log.val.empty:
            raise UserError(f"{log.run}: its log holds no validation yet")
    if not a.keys() & b.keys():
        raise UserError(f"seeds {sorted(a)} and {sorted(b)} have none in common: nothing can be paired")
    ends = {str(log.run): int(log.train["tokens_seen"].max()) for log in (*a.values(), *b.values())}
    if max(ends.values()) > 1.01 * min(ends.values()):
        told = ", ".join(f"{run} has {n:,}" for run, n in ends.items())
        raise UserError(f"the runs have not trained on equally many tokens ({told}): wait until all are done")
    corpora = {log.header.get("validation_corpus") for log in (*a.values(), *b.values())} - {None}
    if len(corpora) > 1:
        raise UserError(f"the runs were judged on the validation papers of different corpora: {corpora}")


def describe(names: tuple[str, str], found: Effect, curves: tuple[pd.DataFrame, pd.DataFrame]) -> list[str]:
    """The comparison in sentences."""
    a, b = names
    seeds = ", ".join(f"seed {seed}: {value:+.4f}" for seed, value in found.by_seed.items())
    lines = [f"{b} against {a}: {found.mean:+.4f} bits per byte ({seeds})"]
    if math.isnan(found.low):
        lines.append(f"no interval: {found.note}")
    else:
        covers = found.low <= 0 <= found.high
        verdict = "which includes 0" if covers else "worse" if found.low > 0 else "better"
        lines.append(
            f"{CONFIDENCE:.0%} interval {found.low:+.4f} to {found.high:+.4f}, {verdict}; {found.note}; "
            f"{len(found.by_seed)} seeds, {found.n_documents} documents"
        )
    if found.n_left_out:
        lines.append(f"{found.n_left_out} documents that only one of them was judged on are left out")
    for one, other, mine, theirs in ((a, b, curves[0], curves[1]), (b, a, curves[1], curves[0])):
        target = float(mine["bits_per_byte"].iloc[-1])
        needed = tokens_to_reach(theirs, target)
        all_tokens = float(mine["tokens_seen"].iloc[-1])
        lines.append(
            f"{one} ends at {target:.4f}: {other} "
            + (
                f"is there after {needed:,.0f} tokens ({needed / all_tokens:.0%})"
                if needed is not None
                else f"is not there within its {theirs['tokens_seen'].iloc[-1]:,.0f} tokens"
            )
        )
    return lines


def draw(
    names: tuple[str, str], seeds: tuple[Seeds, Seeds], curves: tuple[pd.DataFrame, pd.DataFrame], text: str
) -> "Figure":
    """Both validation curves, and B's divided by A's."""
    a, b = curves
    figure, (above, below) = style.new_figure(
        f"{names[1]} against {names[0]}",
        "bits per byte on the shared validation set, mean of the domains; below, the ratio of the two",
        text,
        heights_in=(2.4, 1.1),
    )
    looks = zip(names, seeds, curves, (style.BLUE, style.VERMILION), ("-", "--"), strict=True)
    for name, logs, curve, colour, dashes in looks:
        label = f"{name} (n = {len(logs)})"
        above.plot(curve["tokens_seen"], curve["bits_per_byte"], dashes, color=colour, label=label)
        above.fill_between(curve["tokens_seen"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0)
    most = max(float(curve["tokens_seen"].iloc[-1]) for curve in curves)
    shared = np.interp(a["tokens_seen"], b["tokens_seen"], b["bits_per_byte"])
    below.plot(a["tokens_seen"], shared / a["bits_per_byte"], color=style.INK)
    below.axhline(1.0, color=style.GREY, lw=0.8)
    below.set_ylabel("ratio")
    panel.log_axis(above, "bits per byte")
    panel.progress_axis(below, most)
    panel.legend(above)
    return figure


def as_json(names: tuple[str, str], found: Effect, lines: list[str]) -> dict[str, Any]:
    """What other programs read: the effect, JSON having no NaN, and the sentences."""
    values = {key: None if value != value else value for key, value in asdict(found).items()}
    return (
        {"a": names[0], "b": names[1], "metric": "bits_per_byte", "confidence": CONFIDENCE}
        | values
        | {"text": lines}
    )


def main() -> None:
    """Print the comparison; write it and its figure."""
    parser = script_arguments(__doc__)
    parser.add_argument("a", help="the run that is compared with, for instance run20")
    parser.add_argument("b", help="the run whose effect is wanted")
    args = parser.parse_args()

    logs = read_runs(log_roots(args.logs), args.scale, [args.a, args.b])
    names = (args.a, args.b)
    a, b = ({log.run.seed: log for log in logs if log.run.run == name} for name in names)
    check_comparable(a, b)
    seeds = sorted(a.keys() & b.keys())
    a, b = ({seed: run[seed] for seed in seeds} for run in (a, b))
    found = effect(a, b)
    curves = (mean_curve(a), mean_curve(b))
    lines = describe(names, found, curves)
    print(*lines, sep="\n")

    out = args.out or Path("analysis/out") / logs[0].run.scale
    stem = out / f"compare_{args.a}_{args.b}"
    written = style.save(draw(names, (a, b), curves, ". ".join(lines[:2]) + "."), stem)
    path = stem.with_suffix(".json")
    path.write_text(json.dumps(as_json(names, found, lines), indent=1) + "\n", encoding="utf-8")
    print_written([*written, path])


if __name__ == "__main__":
    run_main(main)
