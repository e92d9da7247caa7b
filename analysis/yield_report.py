"""What each stage of preprocessing kept, dropped and removed, with the ledger's laws checked.

    python analysis/yield_report.py --data data [--variant main] [--tokenizer main] [--out DIR]

In: the ledgers under $DATA/ledger/<variant>/; for the finished corpus by domain, year, licence and dialect
also its documents' columns and the index of its token shards. Out: tables on the console; in DIR (default:
analysis/out/yield/<variant>) yield.md, yield.csv, groups.csv, diversity.json and a figure, yield.png and
yield.pdf. Exit code 3 if a law is broken: then documents or bytes went missing, and the corpus must not be
used.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.readers.distinct_ngrams import FilterDiversity, read_diversity, write_diversity
from analysis.readers.groups import Group, Groups, read_groups
from analysis.readers.ledgers import Corpus, StageYield, corpus_arguments, read_corpus, stage_folders
from analysis.table_text import Table, markdown, print_written
from configs.loader import LawBroken, UserError, run_main

MB = 1e6
MOST_REASONS, MOST_CAUSES = 3, 2  # named below a bar; the tables name all


def report(corpus: Corpus, groups: Groups, diversity: Sequence[FilterDiversity], variant: str) -> str:
    """The whole report as Markdown that reads well as plain text."""
    stages = list(corpus.stages.values())
    removed = [(y.stage, cause, _mb(n)) for y in stages for cause, n in y.removed.most_common()]
    parts = [
        f"# Yield of corpus `{variant}`",
        markdown(
            (
                "stage",
                "documents in",
                "kept",
                "% kept",
                "MB in",
                "MB out",
                "MB dropped",
                "MB removed",
                "% out",
            ),
            [_row(y) for y in stages],
        ),
        *([_missing(corpus)] if _missing(corpus) else []),
        "## Dropped documents by reason",
        markdown(
            ("stage", "reason", "documents", "% of stage", "MB"),
            [
                (y.stage, reason, f"{n:,}", _percent(n, y.n_in), _mb(y.bytes_dropped[reason]))
                for y in stages
                for reason, n in y.dropped.most_common()
            ],
        ),
        "## Bytes removed from kept documents by cause",
        markdown(("stage", "cause", "MB"), removed) if removed else "None.",
        *(f"## {made.caption}\n\n{markdown(made.header, made.rows)}" for made in group_tables(groups)),
        *([_diversity(diversity)] if diversity else []),
        "## Laws",
        _laws(corpus),
    ]
    return "\n\n".join(parts) + "\n"


def _row(y: StageYield) -> tuple[str, ...]:
    return (
        y.stage,
        f"{y.n_in:,}",
        f"{y.n_kept:,}",
        _percent(y.n_kept, y.n_in),
        _mb(y.bytes_in),
        _mb(y.bytes_out),
        _mb(y.bytes_dropped.total()),
        _mb(y.bytes_removed),
        _percent(y.bytes_out, y.bytes_in),
    )


def _missing(corpus: Corpus) -> str:
    """How many of the selected papers the archives hold; empty before extraction."""
    metadata, extracted = (corpus.stages.get(stage) for stage in ("filter_metadata", "extract_latex"))
    if metadata is None or extracted is None:
        return ""
    found = extracted.n_in - extracted.dropped["not_selected"]
    return (
        f"Of the {metadata.n_kept:,} papers that the metadata selects, {found:,} were found in valid items "
        f"of the archives and {metadata.n_kept - found:,} were not."
    )


def group_tables(groups: Groups) -> list[Table]:
    """Where the documents of each domain, year and so on went, and what is left of them."""
    return [_group_table(by, of) for by, of in groups.items()]


def _group_table(by: str, groups: Mapping[str, Group]) -> Table:
    total = Group()
    for group in groups.values():
        total.selected = (total.selected or 0) + (group.selected or 0)
        total.extracted += group.extracted
        total.documents += group.documents
        total.n_bytes += group.n_bytes
        total.n_tokens += group.n_tokens
    header = (by, "selected", "extracted", "in the corpus", "% of extracted", "MB", "tokens", "bytes a token")
    rows = [_group_row(value, group) for value, group in (*groups.items(), ("all", total))]
    return Table(f"corpus_by_{by}", f"The corpus by {by}", header, rows)


def _group_row(value: str, group: Group) -> tuple[str, ...]:
    return (
        value,
        f"{group.selected:,}" if group.selected else "–",
        f"{group.extracted:,}",
        f"{group.documents:,}",
        _percent(group.documents, group.extracted),
        _mb(group.n_bytes),
        f"{group.n_tokens:,}" if group.n_tokens else "–",
        f"{group.n_bytes / group.n_tokens:.2f}" if group.n_tokens else "–",
    )


def group_law(groups: Groups, corpus: Corpus) -> list[str]:
    """A sentence for each division of the corpus whose parts are not the whole that the ledger counts."""
    broken = []
    whole = corpus.stages.get("split_corpus")
    for by, of in groups.items() if whole else ():
        n, n_bytes = sum(g.documents for g in of.values()), sum(g.n_bytes for g in of.values())
        if whole and (n, n_bytes) != (whole.n_kept, whole.bytes_out):
            broken.append(
                f"split_corpus: {n} documents and {n_bytes} bytes by {by}, but {whole.n_kept} and "
                f"{whole.bytes_out} in the ledger"
            )
    return broken


def _diversity(rows: Sequence[FilterDiversity]) -> str:
    """The share of all n-grams and of distinct n-grams that each filter removes."""
    table = [
        (
            row.filter,
            f"{row.ngrams_before:,}",
            f"{100 * (1 - row.ngrams_after / max(row.ngrams_before, 1)):.2f}",
            f"{row.distinct_before:,}",
            f"{100 * row.distinct_lost:.2f}",
        )
        for row in rows
    ]
    header = ("filter", "3-grams before", "% dropped", "distinct before", "% of the distinct lost")
    return (
        "## Diversity: word 3-grams of the prose before and after each filter\n\n"
        "A filter cuts too deep if it removes a far larger share of distinct n-grams than of all.\n\n"
        + markdown(header, table)
    )


def _laws(corpus: Corpus) -> str:
    if corpus.broken:
        return "BROKEN:\n" + "\n".join(f"- {sentence}" for sentence in corpus.broken)
    return (
        "All laws hold for every shard of every stage: documents in = kept + dropped by reason; bytes in = "
        "out + dropped + removed by cause; each stage received exactly what the one before kept."
    )


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / MB:,.2f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"


def tidy_rows(corpus: Corpus) -> Iterator[tuple[str, str, str, int | str, int]]:
    """yield.csv: stage, what, reason or cause, documents (empty for removals), bytes."""
    for y in corpus.stages.values():
        yield y.stage, "in", "", y.n_in, y.bytes_in
        yield y.stage, "kept", "", y.n_kept, y.bytes_out
        for reason, n in y.dropped.most_common():
            yield y.stage, "dropped", reason, n, y.bytes_dropped[reason]
        for cause, n_bytes in y.removed.most_common():
            yield y.stage, "removed", cause, "", n_bytes


def draw(corpus: Corpus, variant: str) -> Figure:
    """Where documents (left) and bytes (right) go: a bar for each stage, as shares of what entered it."""
    stages = list(corpus.stages.values())
    style.use("report")
    figure, (left, right) = style.new_figure(
        f"Yield of corpus {variant}",
        f"{stages[-1].n_kept:,} documents, {stages[-1].bytes_out / MB:,.1f} MB after {stages[-1].stage}",
        "Bytes are those of the snapshot's lines (filter_metadata), of packed items (validate_archives), "
        "then of text.",
        heights_in=(0.58 * len(stages),),
        columns=2,
        left_in=0.2,
        right_in=0.2,
        gap=0.12,
    )
    for y, at in zip(stages, range(len(stages), 0, -1), strict=True):
        dropped = y.dropped.most_common(MOST_REASONS)
        more = y.dropped.total() - sum(n for _, n in dropped)
        reasons = [f"{reason} {n:,}" for reason, n in dropped] + ([f"others {more:,}"] if more else [])
        _bar(left, at, y.n_in, [(y.n_kept, style.BLUE), (y.dropped.total(), style.VERMILION)])
        _describe(left, at, y.stage, f"{y.n_in:,} → {y.n_kept:,}", reasons)
        largest = y.removed.most_common(MOST_CAUSES)
        causes = [f"{cause.replace('_', ' ')} {n / MB:,.2f} MB" for cause, n in largest]
        parts = [
            (y.bytes_out, style.BLUE),
            (y.bytes_removed, style.ORANGE),
            (y.bytes_dropped.total(), style.VERMILION),
        ]
        _bar(right, at, y.bytes_in, parts)
        _describe(right, at, "", f"{y.bytes_in / MB:,.1f} → {y.bytes_out / MB:,.1f} MB", causes)
    for axes, what in ((left, "documents"), (right, "bytes")):
        axes.set(xlim=(0, 100), ylim=(0.35, len(stages) + 0.55), yticks=[])
        axes.set_xlabel(f"{what}, % of those that entered the stage")
        axes.spines["left"].set_visible(False)
    for label, colour in (("kept", style.BLUE), ("removed", style.ORANGE), ("dropped", style.VERMILION)):
        right.barh([0], [0], color=colour, label=label)
    panel.legend(right, above=True)
    return figure


def _bar(axes: style.Axes, at: float, whole: int, parts: Sequence[tuple[int, str]]) -> None:
    start = 0.0
    for n, colour in parts:
        width = (
            100 * max(n, 0) / max(whole, 1)
        )  # a stage that made texts longer removed a negative number of bytes
        axes.barh(at, width, left=start, height=0.24, color=colour, zorder=2)
        start += width


def _describe(axes: style.Axes, at: float, stage: str, counts: str, below: Sequence[str]) -> None:
    axes.text(0, at + 0.18, stage, size=8.5, weight="bold", color=style.INK, va="bottom")
    axes.text(100, at + 0.18, counts, size=8.5, color=style.INK, va="bottom", ha="right")
    axes.text(0, at - 0.18, " · ".join(below), size=7, color=style.GREY, va="top")


def main() -> None:
    """Print the table, write the files, then check the laws."""
    args = corpus_arguments(__doc__, "yield").parse_args()

    corpus = read_corpus(args.data, args.variant)
    quality_ledger = stage_folders(args.data, args.variant).get("filter_quality")
    diversity = read_diversity(quality_ledger) if quality_ledger else []
    groups = read_groups(args.data, args.variant, args.tokenizer)
    corpus.broken += group_law(groups, corpus)
    text = report(corpus, groups, diversity, args.variant)
    print(text)
    out = args.out or Path("analysis/out/yield") / args.variant
    out.mkdir(parents=True, exist_ok=True)
    (out / "yield.md").write_text(text, encoding="utf-8")
    with (out / "yield.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("stage", "what", "reason", "documents", "bytes"))
        writer.writerows(tidy_rows(corpus))
    with (out / "groups.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("by", "value", *Group.__dataclass_fields__))
        writer.writerows(
            (by, value, *astuple(group)) for by, of in groups.items() for value, group in of.items()
        )
    write_diversity(diversity, out / "diversity.json")
    files = [out / "yield.md", out / "yield.csv", out / "groups.csv", out / "diversity.json"]
    files += style.save(draw(corpus, args.variant), out / "yield")
    print_written(files)

    if corpus.broken:
        raise LawBroken("; ".join(corpus.broken[:5]))
    if corpus.unfinished:
        more = f" and {len(corpus.unfinished) - 1} more" if len(corpus.unfinished) > 1 else ""
        raise UserError(
            f"the corpus is unfinished: {corpus.unfinished[0]}{more}; make preprocess goes on with it"
        )


if __name__ == "__main__":
    run_main(main)
