"""The study's page: it says what the logs say, needs nothing else, and is readable in a browser."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.page.html import prose, table
from analysis.readers.run_logs import read_runs
from analysis.study_results import is_of_study, read_plan, results
from analysis.table_text import Table
from configs.loader import CONFIGS
from tests.conftest import run_script
from tests.support import oracles
from tests.support.analysis_logs import judged, write
from tests.support.chromium import Browser, browser

PLANTED = {"run20": 0.0, "run24": 0.2, "run23": 0.05, "run08": -0.1}  # bits per byte worse than Run 20
WIDTHS = (390, 1280)  # a telephone, a laptop


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four runs with two seeds each."""
    root = tmp_path_factory.mktemp("logs")
    for run, planted in PLANTED.items():
        for seed in (0, 1):
            noise = random.Random(f"{run}/{seed}").gauss(0, 0.001)
            rows = judged(run, seed, better_by=noise - planted, run_id=f"mini/{run}/seed{seed}")
            write(root / f"mini/{run}/seed{seed}/log.0.jsonl", rows)
    return root


@pytest.fixture(scope="module")
def page(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about that study."""
    out = tmp_path_factory.mktemp("page")
    run_script("analysis/report.py", "--logs", logs, "--out", out, PYTHONHASHSEED="1")
    return out / "report.html"


@pytest.fixture(scope="module")
def shown(page: Path) -> Iterator[Browser]:
    """The page in a browser."""
    with browser(oracles.bring("chromium")) as opened:
        opened.open(page.as_uri())
        yield opened


def test_page_holds_what_the_logs_say(logs: Path, page: Path) -> None:
    text = page.read_text()
    found = results(read_plan(), read_runs([logs], "mini", None))
    for claim, _, said in found.findings:
        assert re.search(rf"{re.escape(claim.claim)}</a></td><td><span [^>]*>{said}</span>", text), (
            claim.claim
        )
    joint = found.joint(("run20", "run08"))
    assert joint is not None
    one = joint.effects["run20", "run08"]
    card = text.split('<article class="card" id="run08">')[1].split("</article>")[0]
    assert f"{one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f}, simultaneous 95% interval): better" in card
    assert card.count("<polyline") == 2  # itself and Run 20
    planned = {path.stem for path in (CONFIGS / "runs").glob("*.yaml") if is_of_study(path.stem)}
    assert set(re.findall(r'class="card" id="(\w+)"', text)) == planned
    assert text.count("no finished log") == len(planned) - len(PLANTED)
    n_planned = sum(len(found.plan.seeds_of(run)) for run in planned) + len(found.plan.seeds.twin)
    assert f"8 of {n_planned} planned runs are finished" in text


def test_page_needs_no_other_file(page: Path) -> None:
    text = page.read_text()
    addresses = re.findall(r'\b(?:src|href|srcset)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert len(addresses) > 10
    assert {address.split(":")[0] if ":" in address else address[0] for address in addresses} == {"#", "data"}
    assert "<script" not in text
    assert "@import" not in text


def test_the_same_logs_give_the_same_bytes(logs: Path, page: Path, tmp_path: Path) -> None:
    run_script("analysis/report.py", "--logs", logs, "--out", tmp_path, PYTHONHASHSEED="2")
    assert (tmp_path / "report.html").read_bytes() == page.read_bytes()


def test_text_of_tables_is_no_markup() -> None:
    written = table(
        Table("", "a < b", ("x", "verdict"), [("<img src=x>", "not supported")], ["run `make x`"])
    )
    assert "<img" not in written
    assert "a &lt; b" in written
    assert '<span class="verdict not-supported">not supported</span>' in written
    assert prose("run `make <x>`") == "run <code>make &lt;x&gt;</code>"


@pytest.mark.chromium
def test_nothing_complains_and_nothing_else_is_loaded(shown: Browser, page: Path) -> None:
    assert shown.complaints() == []
    assert shown.requested() == [page.as_uri()]


@pytest.mark.chromium
def test_every_image_is_drawn(shown: Browser) -> None:
    sizes = shown.evaluate("[...document.images].map(image => [image.naturalWidth, image.naturalHeight])")
    assert len(sizes) == 9  # figures 1 to 7, effects, times
    assert all(min(size) > 100 for size in sizes)


@pytest.mark.chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_only_boxes_of_tables_and_figures_scroll_sideways(shown: Browser, width: int) -> None:
    shown.resize(width)
    page_width, window = shown.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert page_width <= window == width
    beyond = shown.evaluate(
        "[...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.wide, svg') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    assert beyond == []
    reachable = shown.evaluate(
        "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth)"
        ".map(e => getComputedStyle(e).overflowX)"
    )
    assert set(reachable) == {"auto"}  # what is cut off can be scrolled to
    small = shown.evaluate(
        "[...document.querySelectorAll('p, td, th, figcaption')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).length"
    )
    assert small == 0


@pytest.mark.chromium
def test_page_prints(shown: Browser) -> None:
    printed = shown.pdf()
    assert printed.startswith(b"%PDF")
    assert printed.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 5
