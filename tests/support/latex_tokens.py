"""Token shards of small LaTeX texts with formulas, of papers of two years, for the tests of instruments."""

import hashlib
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tests.support.training import write_shard, write_token_totals, write_tokenizer

SYLLABLES = [f" {a}{b}{c}" for a in "abcde" for b in "xyz" for c in "mn"]


def latex_text(random: np.random.Generator, n_parts: int) -> str:
    """Words and formulas in turn, here and there a blank line, an escaped dollar, a formula on its own."""
    parts = []
    for _ in range(n_parts):
        words = "".join(random.choice(SYLLABLES, random.integers(2, 9)))
        formula = "".join(random.choice(["\\alpha", " axm", "x", "+"], random.integers(1, 6)))
        form = random.choice(["${}$", "\\[{}\\]", "\\begin{{align*}}{}\\end{{align*}}", " costs \\$5"])
        parts.append(words + str(form).format(formula) + str(random.choice(["", "\n\n"])))
    return "".join(parts)


def write_latex_corpus(data: Path, n_documents: int = 20) -> Path:
    """Write a tokenizer and token shards of three domains; the papers are of 1997 and 2021."""
    folder = write_tokenizer(data)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    sha256 = hashlib.sha256((folder / "tokenizer.model").read_bytes()).hexdigest()
    random, root = np.random.default_rng(0), data / "tokens" / "main-main"
    for domain in ("cs", "math", "physics"):
        for split, count in (("train", n_documents), ("val", 4)):
            documents = {}
            for i in range(count):
                number = i + (n_documents if split == "val" else 0)
                paper = f"2103.{number:05}{domain[0]}" if i % 2 else f"{domain}/9704{number:03}"
                ids = tokenizer.encode(latex_text(random, int(random.integers(5, 25)))).ids
                documents[paper] = np.array(ids)
            write_shard(root / split / domain, "tar_0", documents, sha256=sha256)
    write_token_totals(root)
    return data
