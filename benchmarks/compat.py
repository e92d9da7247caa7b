"""Papers cleaned as other pipelines clean them, beside this project's: what is lost, what leaks, how fast.

    ARXIV_REAL=/data/arxiv-real make bench-compat SCALE=demo

In:  a seeded sample of the papers below $ARXIV_REAL/src that pandoc can read; and, from --data and
     --runs-root, what the study of Run 20, Run 05 and the runs compat_* made on the built-in sample.
Out: analysis/measurements/compat.json, of which analysis/yield_tables.py makes a table.

On the real papers, all by extract_paper and normalize_document, as the stages call them:
- lost words and display formulas: what pandoc reads in a paper (without its bibliography, which every mode
  removes) and what is not in the mode's text, over the papers that the mode keeps. pandoc expands macros, so
  a formula with a macro left counts as lost.
- macros left: uses of the commands that the paper itself defines, as a share of those in its own body.
- papers with a comment or an e-mail address in their text.
- MB/s: bytes of TeX files by CPU seconds of one process, archive to text, median of the rounds.
On the built-in sample: documents, tokens and bytes a token of the finished corpus; the documents in it that
main drops as duplicates; bits per byte of Run 20's model on the validation papers of main.
"""

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from analysis.yield_tables import compat_table
from benchmarks.corpus_runs import (
    bits_per_byte,
    duplicates,
    kept,
    logs_by_run,
    run_tokens,
    study_arguments,
    totals,
)
from benchmarks.measure import record
from benchmarks.preprocessing import Paper, all_papers
from configs.loader import (
    CONFIGS,
    UserError,
    merge,
    read_yaml,
    run_main,
)
from preprocess.compat.modes import MODES
from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.validate_archives import judge_item
from tests.support import oracles
from tests.support.verbatim import verbatim_spans

# Each corpus, and the run that trains on it.
RUNS = {
    "main": "run20",
    "run05": "run05",
    **{
        path.stem.removeprefix("compat_"): path.stem
        for path in sorted((CONFIGS / "runs").glob("compat_*.yaml"))
    },
}
PLAIN = ("common_pile", "pes2o")  # plain text, in which a percent sign begins no comment
N_PAPERS, MAX_BYTES, MIN_WORDS, SEED, ROUNDS = 100, 40_000, 200, 0, 3

_BIBLIOGRAPHY = re.compile(rb"\\begin\{thebibliography\}.*?\\end\{thebibliography\}", re.DOTALL)
_DEFINED = re.compile(rb"\\(?:re|provide)?(?:newcommand|def|DeclareMathOperator)\*?\s*\{?\s*\\([A-Za-z]{2,})")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\w")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")


@dataclass(frozen=True)
class Read:
    """A paper with what the comparison needs of it."""

    paper: Paper
    flat: bytes  # its flattened source
    body: oracles.PandocBody
    own: re.Pattern[str] | None  # finds uses of the commands that it defines


def readable_papers(folder: Path) -> list[Read]:
    """A seeded choice of papers that pandoc can read."""

    papers = all_papers(folder)
    random.Random(SEED).shuffle(papers)
    command = oracles.bring("pandoc")
    chosen: list[Read] = []

    def read(paper: Paper) -> Read | None:
        extracted = extract_paper(paper.item, "main.tex", ExtractLatexConfig())
        if not isinstance(extracted, Extracted) or len(extracted.text) > MAX_BYTES:
            return None
        body = oracles.read_with_pandoc(command, _BIBLIOGRAPHY.sub(b"", extracted.text))
        if body is None or len(body.words) < MIN_WORDS:
            return None
        names = sorted({name.decode() for name in _DEFINED.findall(extracted.text)}, key=len, reverse=True)
        own = re.compile(rf"\\(?:{'|'.join(names)})(?![A-Za-z])") if names else None
        return Read(paper, extracted.text, body, own)

    with ThreadPoolExecutor(2) as pool:
        for at in range(0, len(papers), 20):
            chosen += filter(None, pool.map(read, papers[at : at + 20]))
            if len(chosen) >= N_PAPERS:
                break
    return chosen[:N_PAPERS]


class Cleaner:
    """The two stages with the recipe of a corpus."""

    def __init__(self, corpus: str) -> None:
        recipe = read_yaml(CONFIGS / "corpus.yaml")
        if corpus != "main":
            recipe = merge(recipe, read_yaml(CONFIGS / "corpora" / f"{corpus}.yaml"))
        self.extract = ExtractLatexConfig.model_validate(recipe.get("extract_latex", {}))
        self.normalize = NormalizeTextConfig.model_validate(recipe.get("normalize_text", {}))

    def __call__(self, paper: Paper) -> str | None:
        """The clean text of a paper, None if it is dropped."""
        mode = self.extract.compat
        if mode != "none" and judge_item(paper.item, 1 << 30)[0] not in MODES[mode].kinds:
            return None
        extracted = extract_paper(paper.item, "main.tex", self.extract)
        if not isinstance(extracted, Extracted):
            return None
        sizes = extracted.record.get("sizes", ())
        clean = normalize_document(extracted.text, paper.title, paper.abstract, self.normalize, sizes)
        return clean.text if isinstance(clean, Normalized) else None


def cpu_seconds(clean: Cleaner, papers: list[Read]) -> float:
    """CPU seconds for all papers, the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for read in papers:
            clean(read.paper)
        rounds.append(time.process_time() - start)
    return median(rounds)


def on_real_papers(corpus: str, papers: list[Read]) -> dict[str, Any]:
    """What one corpus's cleaning makes of the papers."""
    clean = Cleaner(corpus)
    texts = [(read, clean(read.paper)) for read in papers]
    kept_texts = [(read, text) for read, text in texts if text is not None]
    n = max(len(kept_texts), 1)
    words = Counter[str]()
    macros = Counter[str]()
    formulas = Counter[str]()
    for read, text in kept_texts:
        of_pandoc = Counter(map(oracles.word_key, read.body.words))
        lost = of_pandoc - Counter(map(oracles.word_key, oracles.words_of(text)))
        words.update(all=of_pandoc.total(), lost=lost.total())
        formulas.update(all=len(read.body.displays), lost=sum(_lost_formulas(read.body, text)))
        if read.own:
            macros.update(all=_uses(read.own, read.flat.decode()), left=_uses(read.own, text))
    return {
        "papers": len(kept_texts),
        "text_mb": round(sum(len(text.encode()) for _, text in kept_texts) / 1e6, 3),
        "lost_words_percent": round(100 * words["lost"] / max(words["all"], 1), 2),
        "lost_formulas_percent": round(100 * formulas["lost"] / max(formulas["all"], 1), 2),
        "macros_left_percent": round(100 * macros["left"] / max(macros["all"], 1), 2),
        "papers_with_comment_percent": None
        if corpus in PLAIN
        else round(100 * sum(_has_comment(text) for _, text in kept_texts) / n, 1),
        "papers_with_address_percent": round(
            100 * sum(bool(_ADDRESS.search(t)) for _, t in kept_texts) / n, 1
        ),
        "mb_per_s": round(sum(read.paper.n_bytes for read in papers) / cpu_seconds(clean, papers) / 1e6, 2),
    }


def _uses(own: re.Pattern[str], text: str) -> int:
    """Uses of a paper's own commands in a text, or in its document where it has a preamble."""
    _, begin, body = text.partition("\\begin{document}")
    return len(own.findall(body if begin else text))


def _lost_formulas(body: oracles.PandocBody, text: str) -> Iterator[bool]:
    key, displays = oracles.formula_key(text), oracles.display_tokens(text)
    for formula in body.displays:
        is_drawing = "tikzpicture" in formula or "\\begin{picture}" in formula
        yield not (is_drawing or oracles.formula_key(formula) in key or oracles.is_within(formula, displays))


def _has_comment(text: str) -> bool:
    """Whether a comment with words is left outside verbatim text."""
    source, at = text.encode(), 0
    for _, start, end in verbatim_spans(source):
        if _COMMENT.search(source[at:start].decode("utf-8", "replace")):
            return True
        at = end
    return bool(_COMMENT.search(source[at:].decode("utf-8", "replace")))


def on_the_sample(data: Path, runs_root: Path, scale: str) -> dict[str, Any]:
    """What the study made of each corpus. Raises UserError if a corpus is not finished."""
    logs = logs_by_run(runs_root, scale, list(RUNS.values()))
    copies = duplicates(data)
    sample = {
        corpus: totals(data, corpus)
        | {"duplicates": len(kept(data, corpus) & copies)}
        | bits_per_byte(run, "run20", logs)
        for corpus, run in RUNS.items()
    }
    return {"scale": scale, "run_tokens": run_tokens(logs), "sample": sample}


def main() -> None:
    """Measure, print, record."""
    args = study_arguments(__doc__)
    if not os.environ.get("ARXIV_REAL"):
        raise UserError(
            "ARXIV_REAL= must name a folder of real papers (src/, arxiv-metadata-oai-snapshot.json)"
        )
    sample = on_the_sample(args.data, args.runs_root, args.scale)
    papers = readable_papers(Path(os.environ["ARXIV_REAL"]))
    figures = {
        "real_papers": {"n": len(papers), "tex_mb": round(sum(r.paper.n_bytes for r in papers) / 1e6, 2)},
        "real": {corpus: on_real_papers(corpus, papers) for corpus in RUNS},
        **sample,
    }
    print(compat_table(figures).markdown())
    print(record("compat", figures, ("pylatexenc",)))


if __name__ == "__main__":
    run_main(main)
