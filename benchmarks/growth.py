"""How the time of cleaning grows with the size of hard inputs: exponent 1 is linear, 2 quadratic.

    make bench-growth
    python -m benchmarks.growth unclosed nested

In:  the hard inputs of `tests/support/hard_inputs.py` that no limit truncates, and, for single functions,
     repeated pieces of text. Arguments select the inputs whose names contain one of them.
Out: a table; analysis/measurements/growth.json if all inputs were measured. The exit code is 1 if an exponent
     exceeds MAX_EXPONENT.

Each input is cleaned at 1/16 of its size and at its full size. Times are CPU seconds of one process, the
fastest of a few repetitions. The exponent is log(time at full size / time at 1/16) / log 16.
"""

import gc
import math
import sys
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.measure import record
from preprocess.compat.authors import clean_as_authors
from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.latex.plain_text import find_words, letters_of, slide_share, split_prose, strip_commands
from preprocess.normalize_text import NormalizeTextConfig, normalize_document
from tests.support.hard_inputs import GROWING

FACTOR = 16
MAX_EXPONENT = 1.3  # a linear pass over more data than the caches hold reaches 1.2
REPEATS, MAX_S = 5, 2.0  # repetitions at most, and seconds after which no further one starts

SIZE = 200_000  # repetitions of a piece below
FRAMES = {"unclosed_frame": "\\begin{frame}", "old_frames": "\\frame{\\frametitle{"}
PLAIN = {"line_ends": "\n", "carriage_returns": "\r", "blanks": " ", "words": "word ", "accents": "é"}
MATHEMATICS = {
    "unclosed_environment": "\\begin{equation}x",
    "misspelt_end": "\\begin{align}\\end{aling}",
    "unclosed_bracket": "\\[x",
    "unclosed_parenthesis": "\\(",
    "dollars": "$",
    "unclosed_display": "$$x",
    "backslashes": "\\",
    "braces": "{",
    "closing_braces": "}",
}


def _prose(text: str) -> None:
    prose, _ = split_prose(text)
    find_words(letters_of(strip_commands(prose).encode()))


# Functions of a text, each with the pieces that are hard for it.
FUNCTIONS: dict[str, tuple[Callable[[str], object], dict[str, str]]] = {
    "prose": (_prose, MATHEMATICS | PLAIN),
    "slide_share": (slide_share, FRAMES | PLAIN),
    "authors_cleaning": (
        lambda text: clean_as_authors(text.encode(), Counter()),
        {"percent_signs": "%", "unclosed_figure": "\\begin{figure}"} | PLAIN,
    ),
    "to_utf8": (lambda text: to_utf8(text.encode("latin-1")), PLAIN),
}


def clean(item: bytes) -> None:
    """From an archive to clean text, as the stages extract_latex and normalize_text do it."""
    extracted = extract_paper(item, "paper.tex", ExtractLatexConfig())
    if not isinstance(extracted, Extracted):
        raise AssertionError(f"dropped: {extracted}")
    normalize_document(extracted.text, "T", "A", NormalizeTextConfig())


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the fastest of some repetitions; each compiles the patterns of its paper anew."""
    best, begin = math.inf, time.perf_counter()
    gc.disable()
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
        if time.perf_counter() - begin > MAX_S:
            break
    gc.enable()
    return best


def growth(work: Callable[[int], Callable[[], object]], size: int) -> dict[str, float]:
    """Seconds at 1/16 of `size` and at `size`, and the exponent; `work(n)` prepares n repetitions."""
    small, large = seconds(work(size // FACTOR)), seconds(work(size))
    exponent = math.log(large / small) / math.log(FACTOR)
    return {"small_s": round(small, 5), "large_s": round(large, 4), "exponent": round(exponent, 2)}


def _cases() -> dict[str, tuple[Callable[[int], Callable[[], object]], int]]:
    def of_item(make: Callable[[int], bytes]) -> Callable[[int], Callable[[], object]]:
        def prepare(n: int) -> Callable[[], object]:
            item = make(n)
            return lambda: clean(item)

        return prepare

    def of_text(function: Callable[[str], object], piece: str) -> Callable[[int], Callable[[], object]]:
        def prepare(n: int) -> Callable[[], object]:
            text = piece * n
            return lambda: function(text)

        return prepare

    cases = {f"paper/{name}": (of_item(hard.make), hard.size) for name, hard in GROWING.items()}
    for name, (function, pieces) in FUNCTIONS.items():
        cases |= {f"{name}/{label}": (of_text(function, piece), SIZE) for label, piece in pieces.items()}
    return cases


def main() -> int:
    """Measure the chosen inputs; 1 where one of them grows too fast."""
    words = sys.argv[1:]
    chosen = {name: case for name, case in _cases().items() if not words or any(w in name for w in words)}
    figures = {}
    print(f"{'input':45} {'1/16, ms':>10} {'whole, ms':>10} {'exponent':>8}")
    for name, (work, size) in chosen.items():
        figure = figures[name] = growth(work, size)
        print(
            f"{name:45} {1000 * figure['small_s']:10.2f} {1000 * figure['large_s']:10.1f}"
            f" {figure['exponent']:8.2f}",
            flush=True,
        )
    if not words:
        print(f"written to {record('growth', {'factor': FACTOR, 'growth': figures})}")
    too_fast = [name for name, figure in figures.items() if figure["exponent"] > MAX_EXPONENT]
    print(f"above {MAX_EXPONENT}: {', '.join(too_fast) or 'none'}")
    return 1 if too_fast else 0


if __name__ == "__main__":
    sys.exit(main())
