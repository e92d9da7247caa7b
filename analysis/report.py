"""Everything that the study found on one HTML page: claims, figures, runs, tables, corpus, step times.

    python analysis/report.py [--scale mini] [--logs logs] [--data DIR] [--out DIR]

In:  logs (default: the published ones under logs/), analysis/claims.yaml, configs/runs/, what
     analysis/measurements/ says about the corpora; --data: a data root, whose ledgers give the yield.
Out: analysis/out/<scale>/report.html. The page needs no other file and runs no script, scrolls wide tables
     within their box on a telephone, and prints. The same inputs give the same bytes.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis import (
    claims,
    compare,
    plot_runs,
    run_stability,
    scaling_fit,
    step_time,
    study_corpora,
    symbol_losses,
    tables,
    yield_report,
)
from analysis.effects import CONFIDENCE, Effect, effect
from analysis.figures import style, words
from analysis.figures.scaling_laws import scaling_laws
from analysis.figures.sidecar import file_sha256
from analysis.joint_effects import JointEffect
from analysis.page import html
from analysis.readers.groups import read_groups
from analysis.readers.ledgers import read_corpus
from analysis.readers.run_logs import Run, RunLog, find_runs, read_run
from analysis.study_results import BASELINE, Results, final_bits, read_plan, results
from analysis.table_text import Table, print_written
from configs.loader import CONFIGS, read_yaml
from configs.script import UserError, run_main

Section = tuple[str, str, str]  # id, heading, HTML
Seeds = Mapping[int, RunLog]
SHOWN_FROM = (
    0.25  # share of a run from which its small curve is drawn: the steep start would flatten the rest
)


def report(logs: Sequence[RunLog], files: Mapping[Run, Sequence[Path]], scale: str, data: Path | None) -> str:
    """The page about the runs of one scale."""
    found = results(read_plan(), logs)
    sections = (
        ("claims", "The paper's claims", claims_section(found)),
        ("effects", "What each run changes", effects_section(found, scale)),
        ("symbols", "Formulas written another way", symbols_section(found, scale)),
        ("figures", "Figures", figures_section(logs)),
        ("runs", "Runs", runs_section(found)),
        ("tables", "Tables", tables_section(logs, found, scale)),
        ("corpus", "Corpus", corpus_section(data)),
        ("time", "Where the time went", time_section(logs, scale)),
        ("sources", "Sources", sources_section(logs, files, scale)),
    )
    return html.page(f"The study at {scale} scale", introduction(logs, found), sections)


def introduction(logs: Sequence[RunLog], found: Results) -> str:
    """What the page is about, how much of the study is done, and whose numbers these are."""
    _, n_missing, n_planned = claims.missing_runs(found)
    parameters = {log.header.get("params_total") or 0 for log in logs if log.run.run == BASELINE}
    tokens = max(float(log.train["tokens_seen"].max()) for log in logs)
    size = f"Run 20 has {words.short(max(parameters))} parameters; " if parameters else ""
    return html.paragraph(
        "This project rebuilds the system of the paper “ArXiv-to-Model” (arXiv 2602.17288) and trains its "
        f"runs on a small scale. {n_planned - n_missing} of {n_planned} planned runs are finished. {size}"
        f"the longest run sees {words.short(tokens)} tokens. All numbers and curves are this project's own, "
        "and none is the authors' measurement."
    )


# ---------------------------------------------------------------- claims and effects


def claims_section(found: Results) -> str:
    """Each claim with its verdict, then its tests."""
    overview = "".join(
        f'<tr><td><a href="#claim{number}">{html.escape(claim.claim)}</a></td>'
        f"<td>{html.badge(said)}</td></tr>\n"
        for number, (claim, _, said) in enumerate(found.findings, start=1)
    )
    parts = [
        html.paragraph(
            "Claims, tests and the rule of the verdicts were committed before the runs "
            "(`analysis/preregistration.md`)."
        ),
        '<div class="table"><table><thead><tr><th>claim</th><th>verdict</th></tr></thead>\n'
        f"<tbody>{overview}</tbody></table></div>\n",
    ]
    for number, (claim, findings, said) in enumerate(found.findings, start=1):
        parts.append(f'<h3 id="claim{number}">{html.escape(claim.claim)} {html.badge(said)}</h3>\n')
        rows = [claims.row(finding) for finding in findings]
        parts.append(html.table(Table("", f"In the paper: {claim.paper}", claims.HEADER, rows)))
    return "".join(parts)


def effects_section(found: Results, scale: str) -> str:
    """The effects of all runs with simultaneous intervals."""
    if not (found.confirmatory or found.exploratory):
        return html.paragraph(f"None yet: {found.why_not or 'Run 20 and another run must share two seeds'}.")
    return html.figure(run_stability.draw(found, scale)) + html.table(
        run_stability.effects_table(found, scale)
    )


def symbols_section(found: Results, scale: str) -> str:
    """What models of different tokenizers lose where formulas have other blanks, names or orders."""
    if not found.symbols:
        return html.paragraph(f"Not measured yet: `make symbol-losses SCALE={scale}`.")
    return html.table(symbol_losses.as_table(found.symbols, scale))


# ---------------------------------------------------------------- figures


def figures_section(logs: Sequence[RunLog]) -> str:
    """The paper's figures as far as there are logs, and the laws of the ladder."""
    style.use("paper")
    by_run: words.Logs = {}
    for log in logs:
        if log.train["loss_nats"].notna().any():
            by_run.setdefault(log.run.run, []).append(log)
    drawn = [
        spec.draw({run: by_run[run] for run in dict.fromkeys((*spec.runs, *spec.beside))})
        for spec in plot_runs.specs(list(words.RUNS), by_run, None)
    ]
    ladder = [log for log in logs if scaling_fit.is_rung(log.run) and scaling_fit.can_be_fitted(log)]
    if len({log.run.run for log in ladder}) > 1 and not words.other_validation(ladder):
        both = scaling_fit.fit_both(ladder)
        if not isinstance(both, str):
            note = words.note(scaling_fit.describe(both, ladder), words.own(ladder))
            drawn.append(scaling_laws(both, ladder, scaling_fit.base_sizes(ladder), note))
    if not drawn:
        return html.paragraph(f"There is no log of {', '.join(words.RUNS)} yet.")
    return "".join(map(html.figure, drawn))


# ---------------------------------------------------------------- runs


def runs_section(found: Results) -> str:
    """A card for each run that the study plans, in the order of their names."""
    note = html.paragraph(
        "Outcome: bits per byte on the validation papers that all runs share, mean of the domains, at the "
        "end. Curves: the same while the run trains, mean of its seeds, without the first quarter; dashed: "
        "the run that it is compared with."
    )
    return (
        f'{note}<div class="cards">\n{"".join(card(name, found) for name in claims.planned_runs())}</div>\n'
    )


def card(name: str, found: Results) -> str:
    """What a run changes, what was expected, its seeds, outcome and curve."""
    about = read_yaml(CONFIGS / "runs" / f"{name}.yaml")
    base, seeds = str(about.get("base") or ""), found.logs.get(name, {})
    lines = [("Changes", f"{about['change']}" + (f" (against {words.name(base)})" if base else ""))]
    lines.append(("Expected", about["hypothesis"]))
    if seeds:
        cell = tables.mean_cell([final_bits(log) for log in seeds.values()])
        told = ", ".join(map(str, sorted(seeds)))
        lines.append(("Outcome", f"{cell} bits per byte (seed{'s' * (len(seeds) > 1)} {told})"))
        if against := effect_sentence(name, base, found):
            lines.append((f"Against {words.name(base)}", against))
    else:
        lines.append(("Outcome", "no finished log"))
    body = "".join(f"<p><b>{html.escape(key)}:</b> {html.escape(value)}</p>" for key, value in lines)
    what = f"validation of {words.name(name)}"
    drawn = html.curve(points(seeds), points(found.logs.get(base, {}) if seeds else {}), what)
    heading = html.escape(f"{words.name(name)}: {about['title']}")
    return f'<article class="card" id="{name}"><h3>{heading}</h3>{body}{drawn}</article>\n'


def effect_sentence(name: str, base: str, found: Results) -> str:
    """The effect of a run against its base with its interval; empty without a common seed."""
    joint = found.joint((base, name))
    one: JointEffect | Effect
    if joint:
        one, kind = joint.effects[base, name], f"simultaneous {CONFIDENCE:.0%} interval"
    elif found.logs.get(base, {}).keys() & found.logs[name].keys():
        one, kind = (
            effect(found.logs[base], found.logs[name]),
            f"{CONFIDENCE:.0%} interval of this pair alone",
        )
    else:
        return ""
    if one.low != one.low:
        return f"{one.mean:+.4f}, without an interval"
    said = "worse" if one.low > 0 else "better" if one.high < 0 else "neither better nor worse for certain"
    return f"{one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f}, {kind}): {said}"


def points(seeds: Seeds) -> list[tuple[float, float]]:
    """(tokens, bits per byte) of the mean of the seeds, from SHOWN_FROM on."""
    if not seeds:
        return []
    curve = compare.mean_curve(seeds)
    late = curve[curve["tokens_seen"] >= SHOWN_FROM * curve["tokens_seen"].max()]
    return list(zip(late["tokens_seen"].tolist(), late["bits_per_byte"].tolist(), strict=True))


# ---------------------------------------------------------------- tables, corpus, time, sources


def tables_section(logs: Sequence[RunLog], found: Results, scale: str) -> str:
    """Model and optimisation, runs, stability. Table 1 stands with the corpus."""
    made = [tables.model_table(scale)]
    if any(not log.val.empty for log in logs):
        made.append(tables.runs_table(logs))
    if found.logs:
        made.append(run_stability.stability_table(found, scale))
    return "".join(map(html.table, made))


def corpus_section(data: Path | None) -> str:
    """The study's corpora side by side; with a data root the yield of main, and its papers by kind."""
    parts = []
    if study_corpora.MEASURED.is_file():
        parts.append(
            html.table(study_corpora.as_table(json.loads(study_corpora.MEASURED.read_text(encoding="utf-8"))))
        )
    else:
        parts.append(html.paragraph("The study's corpora are not measured yet: `make study-corpora`."))
    if data:
        parts.append(html.figure(yield_report.draw(read_corpus(data, "main"), "main")))
        parts.append(html.table(tables.corpus_table(data)))
        parts += map(html.table, yield_report.group_tables(read_groups(data, "main", "main")))
    return "".join(parts)


def time_section(logs: Sequence[RunLog], scale: str) -> str:
    """Where the time of each run went, the sum of its seeds."""
    seconds: dict[str, dict[str, float]] = {}
    for log in logs:
        if not log.perf.empty:
            of_run = seconds.setdefault(log.run.run, {})
            for part, value in step_time.parts_of(log).items():
                of_run[part] = of_run.get(part, 0.0) + value
    if not seconds:
        return html.paragraph("No log holds a row of throughput.")
    shares = step_time.as_table(seconds)
    return html.figure(step_time.draw(shares, scale)) + html.table(step_time.as_text(shares))


def sources_section(logs: Sequence[RunLog], files: Mapping[Run, Sequence[Path]], scale: str) -> str:
    """The logs that the page was made from, with hashes."""
    rows = []
    for log in logs:
        digest = hashlib.sha256("".join(file_sha256(path) for path in files[log.run]).encode()).hexdigest()
        header = log.header
        code = str(header.get("git_sha") or "")[:10] + (" + changes" if header.get("git_dirty") else "")
        corpus = str(header.get("data_fingerprint") or "")[:10]
        rows.append(
            (log.run.run, str(log.run.seed), code, corpus, str(header.get("device") or ""), digest[:16])
        )
    header_row = ("run", "seed", "commit", "tokens", "device", "sha256 of the log")
    return html.paragraph(
        f"`make report SCALE={scale}` writes this page again from these logs."
    ) + html.table(
        Table("", "Logs", header_row, rows, ["Hashes are shortened; “tokens” is that of the token shards."])
    )


def main() -> None:
    """Write the page. Raises UserError if there is no log of the scale."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--scale", default="mini", help="of the study (default: mini)")
    parser.add_argument(
        "--logs", type=Path, nargs="+", default=[Path("logs")], help="roots of logs (default: logs/)"
    )
    parser.add_argument("--data", type=Path, help="data root whose ledgers give the yield by stage")
    parser.add_argument("--out", type=Path, help="folder of the page (default: analysis/out/<scale>)")
    args = parser.parse_args()
    files = find_runs(args.logs, args.scale)
    if not files:
        where = " and ".join(map(str, args.logs))
        raise UserError(
            f"{where}: no log at scale {args.scale}: make study SCALE={args.scale} trains the runs"
        )
    logs = [read_run(run, paths) for run, paths in files.items()]
    path: Path = (args.out or Path("analysis/out") / args.scale) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report(logs, files, args.scale, args.data), encoding="utf-8")
    print_written([path])


if __name__ == "__main__":
    run_main(main)
