"""docs/adding_a_stage.md, followed word for word in a checkout of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.corpus import ledger


def follow_the_page(checkout: Path) -> None:
    """Make the file and the line that the page shows."""
    for folder in ("configs", "preprocess", "analysis"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__", "out"))
    page = (ROOT / "docs/adding_a_stage.md").read_text()
    script, lines = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)
    (checkout / "preprocess/filter_titles.py").write_text(script)
    before, new, after = lines.splitlines()
    table = checkout / "configs/stages.py"
    text = table.read_text()
    assert f"{before}\n{after}\n" in text
    table.write_text(text.replace(f"{before}\n{after}\n", f"{before}\n{new}\n{after}\n"))


@pytest.mark.slow
def test_the_page_adds_a_stage_to_the_whole_chain(tmp_path: Path) -> None:
    checkout, data = tmp_path / "checkout", tmp_path / "data"
    follow_the_page(checkout)

    def python(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    python("preprocess/sample_corpus.py", "--out", data / "raw", "--papers", 60)
    table = [line.split() for line in python("-m", "configs.stages").splitlines()]
    assert ["filter_titles", "shards", "0"] in table
    for name, kind, _ in table:
        if not kind.startswith("token"):
            python(f"preprocess/{name}.py", "--data", data, "--scale", "demo", "--workers", 1)
    kept = {paper for paper, verdict in ledger(data, "filter_quality").items() if verdict == "kept"}
    judged = ledger(data, "filter_titles")
    assert set(judged) == kept
    assert {paper for paper, verdict in judged.items() if verdict == "kept"} == set(
        ledger(data, "deduplicate")
    )

    # The report checks the laws between stages and counts the new reason.
    python("preprocess/filter_titles.py", "--data", data, "--workers", 1, "min_title_words=5")
    dropped = [verdict for verdict in ledger(data, "filter_titles").values() if verdict == "short_title"]
    assert dropped
    for name in ("deduplicate", "split_corpus"):
        python(f"preprocess/{name}.py", "--data", data, "--scale", "demo", "--workers", 1)
    python("analysis/yield_report.py", "--data", data, "--out", tmp_path / "out")
    assert f"short_title | {len(dropped)}" in re.sub(r" +", " ", (tmp_path / "out/yield.md").read_text())
