"""How stable the runs of a study were, and what each changes, with intervals that hold for all at once.

    python analysis/run_stability.py [--scale full|mini|demo] [--logs DIR …] [--out DIR]

In:  logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; analysis/claims.yaml names the
     confirmatory contrasts. Only finished runs count.
Out: on the console and in analysis/out/<scale>/: stability (spikes, gradient norms, gap between validation
     and training, of each run) and study_effects (bits per byte against the baseline), each as .md, .csv and
     .tex; study_effects also as a figure.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.effects import CONFIDENCE
from analysis.figures import sidecar, style
from analysis.readers.run_logs import find_runs, log_roots, read_runs, script_arguments
from analysis.stability_values import MEASURES, UNITS, diverged
from analysis.study_results import BASELINE, Results, noise_floor, read_plan, results
from analysis.table_text import Table, print_written
from configs.script import UserError, run_main

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING = "–"


def stability_table(found: Results, scale: str) -> Table:
    """A row for each run: means over its seeds."""
    rows, notes = [], []
    for run, seeds in sorted(found.logs.items()):
        cells = [run, str(len(seeds))]
        for measure in MEASURES.values():
            values = np.array([measure(log) for log in seeds.values()])
            values = values[np.isfinite(values)]
            cells.append(f"{values.mean():.4f}" if len(values) else NOTHING)
        rows.append(cells)
        notes += [f"{log.run} diverged: {reason}." for log in seeds.values() if (reason := diverged(log))]
    names = [name.replace("_", " ") + (f" ({UNITS[name]})" if name in UNITS else "") for name in MEASURES]
    told = ["Means over seeds; analysis/preregistration.md defines the measures.", *notes]
    return Table("stability", f"Stability of the runs at {scale} scale", ("run", "seeds", *names), rows, told)


def effects_table(found: Results, scale: str) -> Table:
    """A row for each contrast, confirmatory ones first."""
    rows = []
    for family, joint in (("confirmatory", found.confirmatory), ("exploratory", found.exploratory)):
        for (a, b), one in joint.effects.items() if joint else ():
            interval = f"{one.low:+.4f} to {one.high:+.4f}"
            rows.append((f"{b} against {a}", family, str(one.n_pairs), f"{one.mean:+.4f}", interval))
    header = ("contrast", "family", "pairs of seeds", "effect", f"simultaneous {CONFIDENCE:.0%} interval")
    return Table(
        "study_effects", f"Effects on bits per byte at {scale} scale", header, rows, effect_notes(found)
    )


def effect_notes(found: Results) -> list[str]:
    """Noise floor and power, in sentences."""
    notes = []
    if floor := noise_floor(found):
        mean, low, high, n = floor
        notes.append(
            f"Noise floor: Run 20 with {n} other seeds differs from itself by {mean:+.4f} "
            f"({low:+.4f} to {high:+.4f}) bits per byte."
        )
    if joint := found.confirmatory:
        n = len(found.plan.seeds.confirmatory)
        effect = joint.detectable(n)
        notes.append(
            f"Residual deviation {joint.residual_deviation:.4f} bits per byte, {joint.degrees_of_freedom} "
            f"degrees of freedom. {n} pairs of seeds find an effect of {effect:.4f} with 80 % probability"
            f"{', so 0.01 can be seen' if effect <= 0.01 else '; an effect of 0.01 may be missed'}."
        )
    return notes


def draw(found: Results, scale: str) -> "Figure":
    """Each contrast with its interval, beside the noise floor."""
    style.use("report")
    families = [joint for joint in (found.confirmatory, found.exploratory) if joint]
    n = sum(len(joint.effects) for joint in families)
    figure, (axes,) = style.new_figure(
        "What each run changes",
        f"{scale} scale; bits per byte on the shared validation set, to the right is worse",
        " ".join(
            [
                f"Simultaneous {CONFIDENCE:.0%} intervals over seeds and validation documents. Filled: the",
                f"preregistered contrasts. Grey: ± {found.plan.margin:g}, which counts as no effect.",
                *effect_notes(found),
            ]
        ),
        heights_in=(0.35 + 0.2 * n,),
        left_in=1.5,
    )
    axes.axvspan(-found.plan.margin, found.plan.margin, color=style.theme.faint, lw=0)
    axes.axvline(0, color=style.theme.grey, lw=0.8)
    labels: list[str] = []
    for joint in families:
        for contrast, one in joint.effects.items():
            _draw_effect(axes, len(labels), one.mean, one.low, one.high, joint is found.confirmatory)
            labels.append(f"{contrast[1]} – {contrast[0]}" if contrast[0] != BASELINE else contrast[1])
    if floor := noise_floor(found):
        _draw_effect(axes, len(labels), *floor[:3], False)
        labels.append("run20 – itself (A/A)")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xscale("symlog", linthresh=0.05)
    axes.set_xlabel("effect, bits per byte (linear within ± 0.05, logarithmic beyond)")
    axes.grid(visible=False, axis="y")
    return figure


def _draw_effect(axes: "Axes", y: int, mean: float, low: float, high: float, filled: bool) -> None:
    axes.errorbar(
        *([mean], [y]),
        xerr=[[mean - low], [high - mean]],
        fmt="o",
        ms=4,
        color=style.theme.colours[0],
        mfc=style.theme.colours[0] if filled else style.theme.background,
        lw=1.2,
        capsize=2,
    )


def main() -> None:
    """Write the tables and the figure. Raises UserError if no run is finished."""
    args = script_arguments(__doc__).parse_args()
    roots = log_roots(args.logs)
    logs = read_runs(roots, args.scale, None)
    scale = logs[0].run.scale
    out = args.out or Path("analysis/out") / scale
    found = results(read_plan(), logs)
    if not found.logs:
        raise UserError(f"{' and '.join(map(str, roots))}: no run at scale {scale} is finished yet")
    tables = [stability_table(found, scale)]
    written: list[Path] = []
    if found.confirmatory or found.exploratory:
        tables.append(effects_table(found, scale))
        stem, figure = out / "study_effects", draw(found, scale)
        files = find_runs(roots, scale)
        shown = [*(log for seeds in found.logs.values() for log in seeds.values()), *found.twin.values()]
        written += [*style.save(figure, stem), sidecar.write(stem, figure, shown, files)]
    else:
        print(f"no effects yet: {found.why_not or 'Run 20 and another run must share two seeds'}")
    for table in tables:
        print(table.markdown())
        written += table.write(out)
    print_written(written)


if __name__ == "__main__":
    run_main(main)
