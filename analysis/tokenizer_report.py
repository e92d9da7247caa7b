"""How tokenizers treat LaTeX: length, whole commands, fertility, on papers that they have not seen.

    python analysis/tokenizer_report.py --data data [TOKENIZER ...] [--held-out LABEL=DIR ...] [--out DIR]

In:  the validation split of a corpus, which no tokenizer of that data root was trained on. TOKENIZER is a
     name in DATA/tokenizers, a .model, a tokenizer.json or a folder with one of these (default: all in
     DATA/tokenizers). `--held-out repository=DIR` names another data root, whose split was made in another
     way, here by the source of the papers. Roots with one label are parts of one cross-validation and are
     added up; a name is looked for in each of them.
Out: tables on the console; tokenizers.md, .csv, .json and a figure, tokenizers.png and .pdf, in DIR (default:
     analysis/out/tokenizers). What is measured, and how, stands in analysis/tokenization/stability.py.
"Known" commands are those that the tokenizer `main` of the same root lists: several of its training papers
use them. Fertility is tokens per English word, over sentences that say the same in each language.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.readers.ledgers import bases
from analysis.table_text import markdown
from analysis.tokenization.encoders import load
from analysis.tokenization.stability import Encoder, Measures, measure, select, summarise
from configs.loader import UserError, default_data_root, run_main

SENTENCES = Path(__file__).with_name("parallel_sentences.csv")
PAPER = "paper"  # how DATA itself holds papers out
# (column of the table, key of the summary, factor, decimals)
COLUMNS = (
    ("bytes/token", "bytes_per_token", 1, 2),
    ("tokens/formula", "tokens_per_formula", 1, 2),
    ("tokens/word", "tokens_per_word", 1, 2),
    ("commands", "command_occurrences", 1, 0),
    ("% whole", "commands_whole", 100, 2),
    ("% known whole", "known_whole", 100, 2),
    ("% unknown whole", "unknown_whole", 100, 2),
    ("% crossed", "commands_crossed", 100, 2),
    ("entropy (bits)", "entropy_bits", 1, 4),
    ("% same respaced", "respaced_same", 100, 1),
    ("% same renamed", "renamed_same", 100, 1),
    ("% lossless", "lossless", 100, 1),
)
# (title of the panel, key, factor, shortest axis: a thousandth of a bit shall not look large)
PANELS = (
    ("bytes a token", "bytes_per_token", 1, 4),
    ("whole (%)", "commands_whole", 100, 100),
    ("crossed (%)", "commands_crossed", 100, 1),
    ("entropy (bits)", "entropy_bits", 1, 0.1),
)


@dataclass
class Result:
    """One tokenizer on the papers held out in one way; counts of several roots are added up."""

    tokenizer: str
    held_out_by: str
    pieces: int
    fertility: dict[str, float]  # language → tokens per English word
    domains: dict[str, Measures] = field(default_factory=dict)
    known: Measures = field(default_factory=Measures)  # the commands alone
    unknown: Measures = field(default_factory=Measures)

    def add(self, domain: str, measures: Measures, known: set[str]) -> None:
        """Count a document in; `known` are the commands of its root's training papers."""
        self.domains[domain] = self.domains.get(domain, Measures()) + measures
        self.known += select(measures, lambda command: command in known)
        self.unknown += select(measures, lambda command: command not in known)

    def summary(self) -> dict[str, Any]:
        """All ratios, overall and by domain."""
        known, unknown = summarise(self.known), summarise(self.unknown)
        return {
            **summarise(sum(self.domains.values(), Measures())),
            "known_occurrences": known["command_occurrences"],
            "known_whole": known["commands_whole"],
            "known_crossed": known["commands_crossed"],
            "unknown_whole": unknown["commands_whole"],
            "fertility": self.fertility,
            "by_domain": {domain: summarise(measures) for domain, measures in sorted(self.domains.items())},
        }


def held_out_documents(data: Path, variant: str) -> Iterator[tuple[str, str]]:
    """(domain, text) of the validation split. Raises UserError where there is none."""
    homes = (
        base for base in bases(variant) if (data / "ledger" / base / "split_corpus/_DONE.json").is_file()
    )
    home = next(homes, None)
    if home is None:
        raise UserError(f"{data}: corpus {variant!r} is not split yet; make preprocess goes on with it")
    for shard in sorted((data / "corpus" / home / "split_corpus").glob("*.parquet")):
        table = pq.read_table(shard, columns=["domain", "text"], filters=[("split", "==", "val")])
        yield from zip(table["domain"].to_pylist(), table["text"].to_pylist(), strict=True)


def known_commands(data: Path) -> set[str]:
    """The control words that the root's tokenizer `main` lists; none where there is no such tokenizer."""
    report = data / "tokenizers" / "main" / "report.json"
    listed = json.loads(report.read_text())["commands"] if report.is_file() else []
    return {command.partition("{")[0] for command in listed}


def fertility(encode: Encoder) -> dict[str, float]:
    """Tokens per English word of the parallel sentences, by language."""
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    words = sum(len(row["English"].split()) for row in rows)
    return {language: sum(len(encode(row[language])[0]) for row in rows) / words for language in rows[0]}


def compare(roots: Sequence[tuple[str, Path]], variant: str, names: Sequence[str]) -> list[Result]:
    """Measure each tokenizer on the held-out papers of each (label, data root)."""
    results: dict[tuple[str, str], Result] = {}
    for label, data in roots:
        documents, known = list(held_out_documents(data, variant)), known_commands(data)
        found = names or sorted(path.parent.name for path in (data / "tokenizers").glob("*/report.json"))
        if not found:
            raise UserError(f"{data / 'tokenizers'}: holds no tokenizer; run preprocess/train_tokenizer.py")
        for name in found:
            path = data / "tokenizers" / name
            if not path.exists() and not (path := Path(name)).exists():
                raise UserError(f"{name}: neither a tokenizer in {data / 'tokenizers'} nor a file")
            pieces, encode = load(path)
            key = (label, name)
            if key not in results:
                results[key] = Result(name, label, pieces, fertility(encode))
            for domain, text in documents:
                results[key].add(domain, measure(text, encode), known)
    return list(results.values())


def tables(results: Sequence[Result]) -> str:
    """The report as Markdown that reads well as plain text."""
    summaries = [(result, result.summary()) for result in results]
    main = [
        (r.tokenizer, r.held_out_by, f"{r.pieces:,}", *(_cell(s[key] * by, n) for _, key, by, n in COLUMNS))
        for r, s in summaries
    ]
    domains = sorted({domain for result in results for domain in result.domains})
    by_domain = [
        (
            r.tokenizer,
            r.held_out_by,
            *(
                _cell(s["by_domain"].get(d, {}).get(key, np.nan), 2)
                for d in domains
                for _, key, *_ in COLUMNS[:3]
            ),
        )
        for r, s in summaries
    ]
    languages = list(results[0].fertility)
    spoken = [
        (r.tokenizer, *(_cell(r.fertility[language], 2) for language in languages))
        for r in {result.tokenizer: result for result in results}.values()
    ]
    lengths = [f"{domain}: {name}" for domain in domains for name, *_ in COLUMNS[:3]]
    return "\n\n".join(
        [
            "# Tokenizers",
            markdown(("tokenizer", "held out by", "pieces", *(name for name, *_ in COLUMNS)), main),
            "## By domain",
            markdown(("tokenizer", "held out by", *lengths), by_domain),
            "## Fertility: tokens per English word of the same sentences",
            markdown(("tokenizer", *languages), spoken),
        ]
    )


def _cell(value: float, decimals: int) -> str:
    return "–" if np.isnan(value) else f"{value:,.{decimals}f}"


def draw(results: Sequence[Result]) -> Figure:
    """A bar for each tokenizer and way of holding out, a panel for each measure."""
    first = results[0]
    n_documents = sum(measures.documents for measures in first.domains.values())
    style.use("report")
    figure, panels = style.new_figure(
        "What tokenizers do to LaTeX",
        f"{n_documents:,} papers held out by {first.held_out_by}; shares of all uses of commands in them",
        "Whole: one token, bare, after its blank, or with {env}. Crossed: a token straddles its border. "
        "Entropy: of the ways in which a command is cut over its contexts.",
        heights_in=(0.3 + 0.24 * len(results),),
        columns=len(PANELS),
        left_in=1.5,
        right_in=0.3,
        gap=0.22,
    )
    labels = [
        result.tokenizer if result.held_out_by == PAPER else f"{result.tokenizer}, by {result.held_out_by}"
        for result in results
    ]
    summaries = [result.summary() for result in results]
    colours = [style.BLUE if result.held_out_by == PAPER else style.SKY for result in results]
    for axes, (title, key, factor, axis) in zip(panels, PANELS, strict=True):
        values = [summary[key] * factor for summary in summaries]
        at = np.arange(len(results), 0, -1)
        axes.barh(at, values, height=0.62, color=colours, zorder=2)
        axes.set(yticks=at, yticklabels=labels if axes is panels[0] else [])
        axes.set_xlim(0, max(*values, axis) * 1.3)
        axes.set_title(title, size=8.5, color=style.INK, loc="left")
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(panel.MaxNLocator(3))
        for y, value in zip(at, values, strict=True):
            axes.annotate(f"{value:.3g}", (value, y), (2, 0), textcoords="offset points", size=7, va="center")
    return figure


def write(results: Sequence[Result], out: Path) -> list[Path]:
    """All files of the report."""
    out.mkdir(parents=True, exist_ok=True)
    text, table, whole = (out / f"tokenizers.{suffix}" for suffix in ("md", "csv", "json"))
    text.write_text(tables(results) + "\n", encoding="utf-8")
    records = [
        {"tokenizer": r.tokenizer, "held_out_by": r.held_out_by, "pieces": r.pieces} | r.summary()
        for r in results
    ]
    whole.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    flat = [
        {key: value for key, value in record.items() if not isinstance(value, dict)} for record in records
    ]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    return [text, table, whole, *style.save(draw(results), out / "tokenizers")]


def main() -> None:
    """Measure, print, write."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("tokenizers", nargs="*", metavar="TOKENIZER", help="default: all in DATA/tokenizers")
    parser.add_argument("--data", type=Path, default=default_data_root(), help="data root")
    parser.add_argument("--variant", default="main", help="corpus (default: main)")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="LABEL=DIR", help="another data root"
    )
    parser.add_argument("--out", type=Path, default=Path("analysis/out/tokenizers"))
    args = parser.parse_args()
    roots = [(PAPER, args.data)]
    for item in args.held_out:
        label, _, folder = item.partition("=")
        if not (label and folder):
            raise UserError(f"--held-out {item}: expected LABEL=DIR, for instance repository=/data/fold0")
        roots.append((label, Path(folder)))
    results = compare(roots, args.variant, args.tokenizers)
    print(tables(results))
    print("written:", *write(results, args.out), sep="\n  ")


if __name__ == "__main__":
    run_main(main)
