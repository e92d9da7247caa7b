"""Draw what the instruments of runs measured: cosines, noise scale, losses by kind of token, norms, energy.

    python analysis/instruments.py [--scale full|mini|demo] [--runs run20] [--logs DIR …] [--out DIR]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/ of runs that were trained with
`instruments='[cosines, noise_scale, losses, norms]'` (`make instruments`). Out: analysis/out/<scale>/, for
each run and seed, as far as its log holds the rows:

    instruments_cosines_<column>_…   cosines between groups over tokens, with the split-half cosine as ceiling
    instruments_noise_scale_…        the gradient noise scale, beside the batch and a quarter of it (Run 16)
    instruments_losses_…             loss of formulas and prose, by token frequency, by position in the window
    instruments_norms_…              norms of weights, updates and activations by layer
    instruments_energy_…             watts and kWh (logs of GPUs)
    instruments_…                    all values as a table (Markdown, CSV, LaTeX)

What a log does not hold is named with the command that measures it. Exit code 2 if nothing could be drawn.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis import instrument_values as values
from analysis.figures import instruments as figures
from analysis.figures import sidecar, style
from analysis.instrument_values import PARTS
from analysis.readers.run_logs import RunLog, find_runs, log_roots, read_chosen, runs_option, script_arguments
from analysis.table_text import Table, print_written
from configs.script import UserError, run_main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {"cosine": "cosines", "noise_scale": "noise_scale", "loss": "losses", "norm": "norms"}


def drawn(log: RunLog) -> "Iterator[tuple[str, Figure]]":
    """Each figure that a log has rows for, by name; what it lacks is printed."""
    for measure, name in MEASURES.items():
        rows = values.rows_of(log, measure)
        if rows.empty:
            print(f"{log.run}: no rows of {name}, so none are drawn: train with instruments='[{name}]'")
        elif measure == "cosine":
            for by in values.groupings(rows):
                yield f"cosines_{by}", figures.cosines(log, by)
        else:
            yield name, figures.DRAWN[measure](log)
    if values.energy(log).empty:
        print(
            f"{log.run}: no readings of power, so no energy is drawn: only GPUs with nvidia-ml-py give them"
        )
    else:
        yield "energy", figures.energy(log)


def table(log: RunLog) -> Table:
    """The values of a run, means over its last half; losses are those of its last validation."""
    rows = [*_noise_rows(log), *_cosine_rows(log), *_loss_rows(log)]
    energy = values.energy(log)
    rows += [] if energy.empty else [("energy", "all GPUs", f"{energy['kwh'].iloc[-1]:.3g} kWh", "")]
    name = f"instruments_{log.run.run}_seed{log.run.seed}"
    caption = f"What the instruments of {log.run} measured, means over its last half"
    return Table(name, caption, ("measure", "of", "value", "beside it"), rows)


Cells = tuple[str, str, str, str]


def _number(value: float, digits: int) -> str:
    """A number, `n/a` where noise left none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "n/a"


def _noise_rows(log: RunLog) -> Iterator[Cells]:
    found = values.settled(values.rows_of(log, "noise_scale"), log)
    for part, rows in found.groupby("part", sort=False):
        scale, batch = values.mean_noise_scale(rows), float(rows["big_tokens"].iloc[-1])
        saved = _number(values.tokens_saved(batch, batch / 4, scale), 2)
        beside = f"batch {batch:,.0f}; a quarter of it would need tokens ÷ {saved}" if part == "all" else ""
        yield "noise scale", PARTS[str(part)], f"{_number(scale, 0)} tokens", beside


def _cosine_rows(log: RunLog) -> Iterator[Cells]:
    found = values.settled(values.rows_of(log, "cosine"), log)
    for by in values.groupings(found):
        for pair in values.cosine_pairs(found[found["by"] == by]):
            for part, name in PARTS.items():
                rows = found[(found["by"] == by) & (found["part"] == part)]
                cosine, ceiling, clean = values.mean_cosines(rows, pair)
                beside = f"ceiling {_number(ceiling, 3)}; without noise {_number(clean, 2)}"
                yield "gradient cosine", f"{' – '.join(pair)}, {name}", f"{cosine:.3f}", beside


def _loss_rows(log: RunLog) -> Iterator[Cells]:
    found = values.last_of(values.rows_of(log, "loss"))
    for by in values.groupings(found):
        for row in values.loss_by(found, by).to_dict("records"):
            beside = f"{row['n_tokens']:,.0f} tokens"
            yield (
                "validation loss",
                f"{by.replace('_', ' ')} {row['group']}",
                f"{row['loss_nats']:.3f}",
                beside,
            )


def main() -> None:
    """Write the figures and the tables. Raises UserError if no log holds anything to draw."""
    parser = script_arguments(__doc__, "figures")
    runs_option(parser)
    args = parser.parse_args()

    roots = log_roots(args.logs)
    logs = read_chosen(args)
    out = args.out or Path("analysis/out") / logs[0].run.scale
    files = find_runs(roots)
    style.use("paper")
    written: list[Path] = []
    for log in logs:
        some = False
        for name, figure in drawn(log):
            stem = out / f"instruments_{name}_{log.run.run}_seed{log.run.seed}"
            written += [*style.save(figure, stem), sidecar.write(stem, figure, [log], files)]
            some = True
        if some:
            text = table(log)
            written += text.write(out)
            print(text.markdown())
    if not written:
        raise UserError(
            f"{' and '.join(map(str, roots))}: no log holds rows of instruments or readings of power; "
            "`make instruments SCALE=demo` trains a short run that measures them"
        )
    print_written(written)


if __name__ == "__main__":
    run_main(main)
