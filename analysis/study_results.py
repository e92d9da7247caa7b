"""What the study found: effects between runs, measures of stability, and a verdict for each claim.

From analysis/claims.yaml and logs to values, which run_stability.py and claims.py write down.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from analysis import symbol_losses
from analysis.effects import effect, t_quantile, validation_curve
from analysis.joint_effects import Contrast, Joint, joint_effects
from analysis.power_law import interval
from analysis.readers.run_logs import RunLog
from analysis.scaling_fit import fit_both, fit_data
from analysis.stability_values import MEASURES
from analysis.study_corpora import MEASURED
from analysis.verdicts import Predicts, of_claim, verdict
from configs.loader import Config, read_yaml, validate

FOLDER = Path(__file__).resolve().parent
BASELINE = "run20"
TWIN = "run20 again"  # Run 20 with other seeds, as if it were another run


class Test(Config):
    """One test of a claim, as claims.yaml writes it; exactly one of the first four is given."""

    contrast: tuple[str, str] | None = None
    measure: str | None = None
    corpora: str | None = None
    scaling: str | None = None
    of: list[str] = Field(default_factory=list)  # of a measure: one run, or two whose difference counts
    predicts: Predicts
    than: float = 0.0


class Claim(Config):
    """A claim of the paper and what tests it."""

    claim: str
    paper: str
    tests: list[Test]


class Seeds(Config):
    """Seeds of the runs."""

    confirmatory: list[int]
    other: list[int]
    twin: list[int]


class Plan(Config):
    """The preregistered study."""

    margin: float
    confirmatory: list[str]
    seeds: Seeds
    claims: list[Claim]

    def seeds_of(self, run: str) -> list[int]:
        """The seeds that a run is trained with."""
        return self.seeds.confirmatory if run in (BASELINE, *self.confirmatory) else self.seeds.other


@dataclass(frozen=True)
class Finding:
    """A test's outcome."""

    what: str
    prediction: str
    estimate: float
    low: float
    high: float
    n: int  # seeds, or pairs of seeds
    verdict: str
    note: str = ""


@dataclass
class Results:
    """Everything that the study's logs say."""

    plan: Plan
    logs: dict[str, dict[int, RunLog]]  # run -> seed -> log; without the twin's seeds
    twin: dict[int, RunLog]
    confirmatory: Joint | None
    exploratory: Joint | None
    why_not: str = ""  # why there are no joint effects
    symbols: dict[str, Any] | None = None  # symbol_losses.read
    findings: list[tuple[Claim, list[Finding], str]] = field(default_factory=list)

    def joint(self, contrast: Contrast) -> Joint | None:
        """The family that a contrast belongs to."""
        for family in (self.confirmatory, self.exploratory):
            if family and contrast in family.effects:
                return family
        return None

    def missing(self, runs: Sequence[str]) -> dict[str, list[int]]:
        """The seeds of each of `runs` that the plan asks for and no log shows finished."""
        seeds = {
            run: [seed for seed in self.plan.seeds_of(run) if seed not in self.logs.get(run, {})]
            for run in runs
        }
        return {run: missing for run, missing in seeds.items() if missing}


def read_plan() -> Plan:
    """analysis/claims.yaml. Raises UserError if a key is unknown or missing."""
    path = FOLDER / "claims.yaml"
    return validate(Plan, read_yaml(path), str(path))


def is_of_study(run: str) -> bool:
    """Whether a run is one of the 24 or of the ladder; others belong to the study of yield."""
    return run.startswith(("run", "ladder_"))


def is_finished(log: RunLog) -> bool:
    """Whether a log reaches its run's end: only there are documents judged one by one."""
    return not log.val_document.empty


def final_bits(log: RunLog) -> float:
    """Bits per byte of the last validation, the mean of the domains."""
    return float(validation_curve(log)["bits_per_byte"].iloc[-1])


def results(plan: Plan, logs: Sequence[RunLog], corpora: Path = MEASURED) -> Results:
    """Judge every claim by the finished runs among `logs`."""
    by_run: dict[str, dict[int, RunLog]] = {}
    twin = {}
    for log in logs:
        if not is_of_study(log.run.run) or not is_finished(log):
            continue
        if log.run.run == BASELINE and log.run.seed in plan.seeds.twin:
            twin[log.run.seed] = log
        else:
            by_run.setdefault(log.run.run, {})[log.run.seed] = log
    symbols = symbol_losses.read(logs[0].run.scale) if logs else None
    found = Results(plan, by_run, twin, None, None, symbols=symbols)
    chosen = {(BASELINE, run) for run in plan.confirmatory}
    others = {(BASELINE, run) for run in by_run if run != BASELINE and not run.startswith("ladder_")}
    others |= {test.contrast for claim in plan.claims for test in claim.tests if test.contrast}
    try:
        found.confirmatory = _joint(by_run, sorted(chosen))
        found.exploratory = _joint(by_run, sorted(others - chosen))
    except ValueError as error:
        found.why_not = str(error)
    for claim in plan.claims:
        findings = [_judge(test, found, corpora) for test in claim.tests]
        found.findings.append((claim, findings, of_claim([finding.verdict for finding in findings])))
    return found


def _joint(by_run: Mapping[str, Mapping[int, RunLog]], contrasts: Sequence[Contrast]) -> Joint | None:
    """The joint effects of those contrasts that have seeds in common; None if there are none."""
    there = [(a, b) for a, b in contrasts if by_run.get(a, {}).keys() & by_run.get(b, {}).keys()]
    if not there:
        return None
    values = {
        run: {seed: final_bits(log) for seed, log in seeds.items()}
        for run, seeds in by_run.items()
        if not run.startswith("ladder_")
    }
    variances = {(a, b): effect(by_run[a], by_run[b]).document_variance for a, b in there}
    return joint_effects(values, there, variances)


def _judge(test: Test, found: Results, corpora: Path) -> Finding:
    if test.contrast:
        return _contrast(test, found)
    if test.measure:
        return _measure(test, found)
    return _scaling(test, found) if test.scaling else _corpora(test, corpora)


def _prediction(test: Test, margin: float) -> str:
    if test.predicts == "within":
        return f"within ± {margin:g} of {test.than:g}"
    return f"{test.predicts} {test.than:g}"


def _finding(
    test: Test, what: str, values: tuple[float, float, float], n: int, margin: float = 0.0, note: str = ""
) -> Finding:
    said = verdict(values[1], values[2], test.predicts, test.than, margin)
    return Finding(what, _prediction(test, margin), *values, n, said, note)


NOTHING = (math.nan, math.nan, math.nan)


def _contrast(test: Test, found: Results) -> Finding:
    assert test.contrast
    a, b = test.contrast
    margin = found.plan.margin
    what = f"{b} against {a}, bits per byte"
    joint = found.joint((a, b))
    if joint is None:
        return _finding(test, what, NOTHING, 0, margin, found.why_not or "no seed of both is finished")
    one = joint.effects[a, b]
    note = "confirmatory" if joint is found.confirmatory else "exploratory"
    return _finding(test, what, (one.mean, one.low, one.high), one.n_pairs, margin, note)


def _measure(test: Test, found: Results) -> Finding:
    assert test.measure
    what = f"{test.measure} of {' less that of '.join(reversed(test.of))}"
    if test.measure.startswith(symbol_losses.PREFIX):
        return _symbols(test, what, found)
    if test.measure not in MEASURES:
        return _finding(test, what, NOTHING, 0, note="not measured yet")
    of = [{s: MEASURES[test.measure](log) for s, log in found.logs.get(run, {}).items()} for run in test.of]
    seeds = sorted(set.intersection(*(set(values) for values in of)))
    values = np.array([of[-1][s] - (of[0][s] if len(of) == 2 else 0.0) for s in seeds])
    values = values[np.isfinite(values)]
    if len(values) < 2:
        mean = float(values.mean()) if len(values) else math.nan
        return _finding(test, what, (mean, math.nan, math.nan), len(values), note="needs two seeds")
    mean = float(values.mean())
    half = t_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return _finding(test, what, (mean, mean - half, mean + half), len(values))


def _symbols(test: Test, what: str, found: Results) -> Finding:
    """How much more, in bits per byte, formulas cost the model when they are written another way."""
    change = str(test.measure).removeprefix(symbol_losses.PREFIX)
    against = test.of[0] if len(test.of) == 2 else None
    one = symbol_losses.excess(found.symbols, change, test.of[-1], against) if found.symbols else None
    if one is None:
        return _finding(test, what, NOTHING, 0, note="not measured yet: make symbol-losses")
    if len(one.by_seed) < 2:
        return _finding(test, what, (one.mean, math.nan, math.nan), 1, note="needs two seeds")
    return _finding(test, what, (one.mean, one.low, one.high), len(one.by_seed), note="seeds and papers")


def _scaling(test: Test, found: Results) -> Finding:
    """An exponent of the ladder's law, with its interval from a bootstrap over runs."""
    ladder = [
        log
        for run, seeds in found.logs.items()
        for log in seeds.values()
        if run in (BASELINE, "run21") or run.startswith("ladder_")
    ]
    what = f"exponent of the {test.scaling}"
    if not ladder:
        return _finding(test, what, NOTHING, 0, note="no run of the ladder is finished")
    fitted = fit_data(ladder) if test.scaling == "data" else fit_both(ladder)
    if isinstance(fitted, str):
        return _finding(test, what, NOTHING, 0, note=fitted)
    low, high = interval([law.exponents[0] for law in fitted.others])
    return _finding(test, what, (fitted.law.exponents[0], low, high), len(fitted.losses))


def _corpora(test: Test, path: Path) -> Finding:
    """A number of the study's corpora with its interval."""
    what = f"{test.corpora} of the corpora".replace("_", " ")
    if not path.is_file():
        return _finding(test, what, NOTHING, 0, note="not measured yet: make study-corpora")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    value = content[str(test.corpora)]
    return _finding(test, what, (value["value"], value["low"], value["high"]), value["n"])


def noise_floor(found: Results) -> tuple[float, float, float, int] | None:
    """(mean, low, high, seeds) of Run 20's twin less Run 20, unpaired (Welch); None below two seeds each."""
    one = np.array([final_bits(log) for log in found.logs.get(BASELINE, {}).values()])
    two = np.array([final_bits(log) for log in found.twin.values()])
    if min(len(one), len(two)) < 2:
        return None
    parts = one.var(ddof=1) / len(one), two.var(ddof=1) / len(two)
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(two) - 1))
    mean, half = float(two.mean() - one.mean()), t_quantile(degrees) * math.sqrt(sum(parts))
    return mean, mean - half, mean + half, min(len(one), len(two))
