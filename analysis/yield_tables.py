"""The tables of docs/yield.md: each rule switched off alone, and corpora cleaned as other pipelines do it.

    python analysis/yield_tables.py [--measured DIR] [--out DIR] [--into docs/yield.md]

In: marginal_yield.json of make yield-study and compat.json of make bench-compat, in analysis/measurements.
Out: the tables on the console; in --out (default: analysis/out/yield) as Markdown, CSV and LaTeX; in the
document --into, in place of those that stand there. The benchmarks of these names say what a column measures.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.measured_report import MEASUREMENTS, read
from analysis.table_text import Table, print_written
from configs.script import run_main

KEYS = {
    "marginal_yield": ("main", "rules", "run_tokens"),
    "compat": ("real", "sample", "real_papers", "scale", "run_tokens"),
}
MADE_BY = {"marginal_yield": "yield-study", "compat": "bench-compat"}
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


def marginal_table(measured: dict[str, Any]) -> Table:
    """A row for each rule that is switched off alone."""
    main = measured["main"]
    rows = [
        (
            rule["title"],
            f"{rule['documents_gained']:+,}",
            f"{-rule['documents_lost']:,}",
            f"{rule['bytes'] / 1e3:+,.1f}",
            f"{rule['tokens']:+,}",
            f"{100 * rule['tokens'] / main['tokens']:+.2f}",
            f"{rule['mean']:+.4f}" if "mean" in rule else "–" if rule["tokens"] else "the same",
            f"{rule['low']:+.4f} to {rule['high']:+.4f}" if "low" in rule else "–",
            str(rule.get("seeds", 0)),
        )
        for rule in measured["rules"].values()
    ]
    header = ["corpus", "documents gained", "lost", "kB", "tokens", "% tokens"]
    header += ["bits per byte", "95 % interval", "seeds"]
    caption = (
        f"One rule switched off at a time, against {main['documents']:,} documents, "
        f"{main['bytes'] / 1e6:.2f} MB and {main['tokens']:,} tokens of main; runs of "
        f"{measured['run_tokens']:,} tokens"
    )
    return Table("marginal_yield", caption, header, rows)


def compat_table(measured: dict[str, Any]) -> Table:
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
    """Print and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measured", type=Path, default=MEASUREMENTS, help="folder of the measurements")
    parser.add_argument("--out", type=Path, default=Path("analysis/out/yield"), help="default: %(default)s")
    parser.add_argument("--into", type=Path, help="a document that has the tables")
    args = parser.parse_args()
    written = []
    for name, make in (("marginal_yield", marginal_table), ("compat", compat_table)):
        made = make(read(args.measured / f"{name}.json", KEYS[name], MADE_BY[name]))
        print(made.markdown())
        written += made.write(args.out)
        if args.into:
            made.put_into(args.into)
    print_written(written)


if __name__ == "__main__":
    run_main(main)
