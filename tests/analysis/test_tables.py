"""The tables: their numbers are those of ledgers, configurations and logs, in three formats."""

import csv
import math
import re
from pathlib import Path

import pytest

from analysis.effects import effect
from analysis.readers.run_logs import read_runs
from analysis.table_text import Table, escape_latex, markdown
from analysis.tables import main, model_table, resolved_config, runs_table
from tests.analysis.test_compare import judged
from tests.conftest import run_script
from tests.support.analysis_logs import write


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds each of Run 20 and of Run 08, which is better by 0.1 bits per byte."""
    root = tmp_path_factory.mktemp("logs")
    for seed in (0, 1):
        write(root / f"demo/run20/seed{seed}/log.0.jsonl", judged("run20", seed))
        write(root / f"demo/run08/seed{seed}/log.0.jsonl", judged("run08", seed, better_by=0.1))
    return root


def test_runs_with_effect_and_interval(logs: Path) -> None:
    read = read_runs([logs], None, None)
    a, b = ({log.run.seed: log for log in read if log.run.run == name} for name in ("run20", "run08"))
    found = effect(a, b)
    table = runs_table(read)
    row = next(dict(zip(table.header, row, strict=True)) for row in table.rows if row[0] == "run08")
    assert row["base"] == "run20"
    assert row["seeds"] == "2"
    assert row["effect on bits per byte"] == f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    mean, half = map(float, row["bits per byte"].split(" ± "))
    finals = [log.val[log.val["step"] == 100]["bits_per_byte"].mean() for log in b.values()]
    assert mean == pytest.approx(sum(finals) / 2, abs=1e-4)
    # Two seeds: t of one degree of freedom, and s / sqrt(2) is half their distance.
    assert half == pytest.approx(12.706 * abs(finals[0] - finals[1]) / 2, abs=2e-4)


def test_model_against_the_paper() -> None:
    table = model_table("full")
    rows = {row[0]: dict(zip(table.header[1:], row[1:], strict=True)) for row in table.rows}
    ours = "here, Run 20 at full scale"
    assert rows["parameters (1)"] == {
        "paper": "1.36 B",
        "authors' release": "1,633,781,760",
        ours: "1,358,006,272",
    }
    assert rows["warm-up steps (4)"][ours] == rows["warm-up steps (4)"]["paper"] == "500"
    assert rows["peak learning rate"][ours] == "0.0002"
    assert len(table.notes) == sum("(" in row[0] for row in table.rows) == 5


def test_every_fact_names_a_key_of_the_configuration() -> None:
    assert resolved_config("run20", "demo")["computed.steps_total"] == 300


def test_the_same_inputs_give_the_same_files(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        out = ("--out", str(tmp_path / folder), "--data", str(tmp_path / "none"))
        monkeypatch.setattr("sys.argv", ["tables.py", "--scale", "demo", "--logs", str(logs), *out])
        main()
    assert "table 1 is not made" in capsys.readouterr().out
    one, two = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in one] == [
        f"table{table}.{kind}" for table in ("2_model", "3_runs") for kind in ("csv", "md", "tex")
    ]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


TABLE = Table(
    "t",
    "A & B_1",
    ("what", "n, %"),
    [("50 % of $x^2$ {a} # ~ \\", "1,234"), ("a | b", "-5.0")],
    ["So: β ≈ 1"],
)


def test_latex_escapes_and_rules() -> None:
    text = TABLE.latex()
    rules = [text.index(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")]
    assert rules == sorted(rules)
    assert r"\caption{A \& B\_1}" in text
    assert r"50 \% of \$x\textasciicircum{}2\$ \{a\} \# \textasciitilde{} \textbackslash{} & 1,234 \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert not re.search(r"(?<!\\)[%#]", text)
    assert escape_latex("±×") == r"$\pm$$\times$"


def test_a_column_of_digits_has_a_rule_with_a_dash() -> None:
    assert markdown(["n", "run"], [["3", "run20"]]).splitlines()[1] == "| -: | ----- |"


def test_csv_comes_back(tmp_path: Path) -> None:
    markdown, table, latex = TABLE.write(tmp_path)
    assert list(csv.reader(table.open(newline=""))) == [list(TABLE.header), *map(list, TABLE.rows)]
    assert [path.suffix for path in (markdown, table, latex)] == [".md", ".csv", ".tex"]


def test_a_corpus_is_counted_from_its_ledger(tmp_path: Path) -> None:
    sample = ("preprocess/sample_corpus.py", "--out", tmp_path / "raw", "--papers", 40)
    run_script(*sample)
    for stage in ("filter_metadata", "validate_archives"):
        run_script(f"preprocess/{stage}.py", "--data", tmp_path, "--workers", 1)
    out = ("--out", tmp_path / "out", "--logs", tmp_path)
    said = run_script("analysis/tables.py", "--scale", "demo", "--data", tmp_path, *out).stdout
    assert "table 3 is not made" in said
    rows = list(csv.DictReader((tmp_path / "out/table1_corpus.csv").open(newline="")))
    assert [row["stage"] for row in rows] == ["filter_metadata", "validate_archives"]
    for row in rows:
        n_in, kept = (int(row[key].replace(",", "")) for key in ("documents in", "kept"))
        dropped = sum(int(n) for n in re.findall(r" (\d+)", row["dropped for (first 3)"]))
        assert math.isclose(float(row["% kept"]), 100 * kept / n_in, abs_tol=0.05)
        assert n_in >= kept + dropped > 0
