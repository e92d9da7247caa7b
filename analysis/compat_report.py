"""Table of the corpora cleaned as other pipelines clean them, beside this project's `main`.

    python analysis/compat_report.py [--measured FILE] [--out DIR]

In: what make bench-compat measured (analysis/measurements/compat.json). Out: the table on the console; in DIR
(default: analysis/out/compat) as Markdown, CSV and LaTeX. benchmarks/compat.py says what a column measures.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.measured_report import MEASUREMENTS, read
from analysis.table_text import Table, print_written
from configs.script import run_main

KEYS = ("real", "sample", "real_papers", "scale", "run_tokens")
# Columns of the real papers, then of the built-in sample: title, key, format.
_REAL = (
    ("papers kept", "papers", "{:,}"),
    ("% words lost", "lost_words_percent", "{:.2f}"),
    ("% formulas lost", "lost_formulas_percent", "{:.2f}"),
    ("% macros left", "macros_left_percent", "{:.2f}"),
    ("% with comments", "papers_with_comment_percent", "{:.1f}"),
    ("% with addresses", "papers_with_address_percent", "{:.1f}"),
    ("MB/s", "mb_per_s", "{:.2f}"),
)
_SAMPLE = (
    ("documents", "documents", "{:,}"),
    ("tokens", "tokens", "{:,}"),
    ("duplicates", "duplicates", "{:,}"),
)


def table(measured: dict[str, Any]) -> Table:
    """A row for each corpus."""
    rows = []
    for corpus, sample in measured["sample"].items():
        real = measured["real"][corpus]
        cells = ["–" if real[key] is None else form.format(real[key]) for _, key, form in _REAL]
        cells += [form.format(sample[key]) for _, key, form in _SAMPLE]
        cells.append(f"{sample['bytes'] / sample['tokens']:.2f}")
        cells.append(f"{sample['bits_per_byte']:.3f}" if "bits_per_byte" in sample else "–")
        cells.append(str(sample.get("seeds", 0)))
        has_interval = "mean" in sample
        cells.append(f"{sample['mean']:+.3f}" if has_interval else "–")
        cells.append(f"{sample['low']:+.3f} to {sample['high']:+.3f}" if has_interval else "–")
        rows.append((corpus, *cells))
    header = ["corpus", *(title for title, _, _ in (*_REAL, *_SAMPLE)), "bytes a token"]
    header += ["bits per byte", "seeds", "against main", "95 % interval"]
    papers = measured["real_papers"]
    caption = (
        f"Up to MB/s: {papers['n']} real papers, {papers['tex_mb']} MB of TeX; from documents on: the "
        f"built-in sample and Run 20's model at {measured['scale']} scale after {measured['run_tokens']:,} "
        "tokens, judged on main's validation papers"
    )
    return Table("compat", caption, header, rows)


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measured", type=Path, default=MEASUREMENTS / "compat.json", help="of make bench-compat"
    )
    parser.add_argument("--out", type=Path, default=Path("analysis/out/compat"), help="default: %(default)s")
    args = parser.parse_args()
    made = table(read(args.measured, KEYS, "bench-compat"))
    print(made.markdown())
    print_written(made.write(args.out))


if __name__ == "__main__":
    run_main(main)
