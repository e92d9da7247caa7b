"""The tables of the study: corpus and yield, model and optimisation, runs with outcome and interval.

    python analysis/tables.py [--scale full|mini|demo] [--data data] [--logs DIR …] [--out DIR]

In: ledgers and token shards under --data (table 1), configs/runs/run20.yaml and analysis/paper.yaml (2), logs
under $ARXIV_RUNS (default runs/) and the published ones under logs/ (3). Out, in analysis/out/<scale>/:
table1_corpus, table2_model, table3_runs, each as .md, .csv and .tex (booktabs). A table without anything to
show is not written, and the console says what is missing. The same inputs give the same bytes.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.effects import CONFIDENCE, Effect, effect, t_quantile, validation_curve
from analysis.readers.ledgers import read_corpus
from analysis.readers.run_logs import RunLog, log_roots, read_runs, script_arguments
from analysis.table_text import Table, print_written
from configs.loader import CONFIGS, read_yaml
from configs.script import UserError, default_data_root, run_main

ROOT = Path(__file__).resolve().parents[1]
FINAL = "run20"
NOTHING = "–"


# ---------------------------------------------------------------- 1: corpus and yield


def corpus_table(data: Path) -> Table:
    """A row for each stage of each corpus under `data`. Raises UserError where there is none."""
    variants = sorted(path.name for path in (data / "ledger").glob("*") if path.is_dir())
    variants.sort(key=lambda name: name != "main")
    if not variants:
        raise UserError(f"{data / 'ledger'}: no corpus here; make preprocess makes one")
    rows = []
    for variant in variants:
        for stage in read_corpus(data, variant).stages.values():
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in stage.dropped.most_common(3))
            rows.append(
                (
                    variant,
                    stage.stage,
                    f"{stage.n_in:,}",
                    f"{stage.n_kept:,}",
                    f"{100 * stage.n_kept / stage.n_in:.1f}" if stage.n_in else NOTHING,
                    f"{stage.bytes_in / 1e6:,.1f}",
                    f"{stage.bytes_out / 1e6:,.1f}",
                    reasons or NOTHING,
                )
            )
    notes = [line for folder in sorted((data / "tokens").glob("*")) for line in _tokens_of(folder)]
    header = ("corpus", "stage", "documents in", "kept", "% kept", "MB in", "MB out", "dropped for (first 3)")
    return Table("table1_corpus", "Corpus and yield by stage", header, rows, notes)


def _tokens_of(folder: Path) -> list[str]:
    done = folder / "_DONE.json"
    if not done.is_file():
        return []
    parts = json.loads(done.read_text(encoding="utf-8"))
    sums = {}
    for split in ("train", "val"):
        of_split = [part for name, part in parts.items() if name.startswith(f"{split}/")]
        sums[split] = {
            key: sum(part[key] for part in of_split) for key in ("n_tokens", "n_bytes", "n_documents")
        }
    train, val = sums["train"], sums["val"]
    return [
        f"{folder.name}: {train['n_tokens']:,} tokens of {train['n_documents']:,} documents for training "
        f"({train['n_bytes'] / max(train['n_tokens'], 1):.2f} bytes a token), {val['n_tokens']:,} of "
        f"{val['n_documents']:,} for validation"
    ]


# ---------------------------------------------------------------- 2: model and optimisation


def model_table(scale: str) -> Table:
    """What the paper states, what its release holds, and Run 20 here, with what contradicts itself."""
    ours = resolved_config(FINAL, scale)
    facts = yaml.safe_load((ROOT / "analysis" / "paper.yaml").read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for fact in facts:
        mark = ""
        if "contradiction" in fact:
            notes.append(f"({len(notes) + 1}) {fact['contradiction']}")
            mark = f" ({len(notes)})"
        values = (fact.get("paper", NOTHING), fact.get("release", NOTHING), as_cell(ours[fact["ours"]]))
        rows.append((fact["what"] + mark, *values))
    header = ("setting", "paper", "authors' release", f"here, Run 20 at {scale} scale")
    return Table("table2_model", "Model and optimisation", header, rows, notes)


def resolved_config(run: str, scale: str) -> dict[str, Any]:
    """The values of `pretrain.py --print-config`. Raises UserError with what it said where it failed."""
    command = ["train/pretrain.py", f"configs/runs/{run}.yaml", "--scale", scale, "--print-config"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(done.stderr.strip().removeprefix("error: "))
    values: dict[str, Any] = yaml.safe_load(done.stdout)
    return values


def as_cell(value: Any) -> str:
    """A configured value for readers."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(as_cell, value))
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )


# ---------------------------------------------------------------- 3: runs


def runs_table(logs: Sequence[RunLog]) -> Table:
    """A row for each run with a finished validation: bits per byte, and the effect against its base."""
    judged = [log for log in logs if not log.val.empty]
    by_run: dict[str, dict[int, RunLog]] = {}
    for log in judged:
        by_run.setdefault(log.run.run, {})[log.run.seed] = log
    rows, notes = [], set()
    for name, seeds in sorted(by_run.items()):
        about = read_yaml(CONFIGS / "runs" / f"{name}.yaml") if _is_ours(name) else {}
        base = about.get("base") or NOTHING
        against = NOTHING
        if base in by_run and seeds.keys() & by_run[base].keys():
            found = effect(by_run[base], seeds)
            against = _effect_cell(found)
            notes.add(found.note)
        finals = [float(validation_curve(log)["bits_per_byte"].iloc[-1]) for log in seeds.values()]
        tokens = max(int(log.train["tokens_seen"].max()) for log in seeds.values())
        rows.append(
            (
                name,
                str(about.get("change") or NOTHING),
                str(len(seeds)),
                f"{tokens / 1e6:,.1f} M",
                mean_cell(finals),
                base,
                against,
            )
        )
    header = ("run", "what it changes", "seeds", "tokens", "bits per byte", "base", "effect on bits per byte")
    told = [
        "Bits per byte on the validation set that all runs share, mean of the domains, at the end of a run; "
        f"± and brackets: {CONFIDENCE:.0%} intervals.",
        *sorted(note[0].upper() + note[1:] + "." for note in notes),
    ]
    return Table("table3_runs", f"Runs at {logs[0].run.scale} scale", header, rows, told)


def _is_ours(name: str) -> bool:
    return (CONFIGS / "runs" / f"{name}.yaml").is_file()


def mean_cell(values: Sequence[float]) -> str:
    """Mean and half-width of its interval over seeds; one value alone has none."""
    n, mean = len(values), sum(values) / len(values)
    if n == 1:
        return f"{mean:.4f}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return f"{mean:.4f} ± {t_quantile(n - 1) * deviation / math.sqrt(n):.4f}"


def _effect_cell(found: Effect) -> str:
    interval = "" if math.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.mean:+.4f}{interval}"


def main() -> None:
    """Write the tables that there is something for."""
    parser = script_arguments(__doc__, "tables")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/SCALE)")
    parser.set_defaults(scale="full")  # the paper's
    args = parser.parse_args()

    makers = (
        lambda: corpus_table(args.data or default_data_root(args.scale)),
        lambda: model_table(args.scale),
        lambda: runs_table(read_runs(log_roots(args.logs), args.scale, None)),
    )
    written = []
    for number, make in enumerate(makers, start=1):
        try:
            table = make()
        except UserError as error:
            print(f"table {number} is not made: {error}")
            continue
        print(table.markdown())
        written += table.write(args.out or Path("analysis/out") / args.scale)
    print_written(written)


if __name__ == "__main__":
    run_main(main)
