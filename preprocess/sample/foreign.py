r"""German and French papers of the built-in sample, which filter_quality must drop.

All nouns of a grammar have the same gender, so that articles and endings agree with any of them.
"""

import random

from preprocess.sample.grammar import Grammar, read_rules


def write_foreign(rng: random.Random, language: str, n_bytes: int) -> tuple[str, str, str]:
    """A paper of about `n_bytes` characters: (title, abstract, LaTeX source).

    `language`: "german" or "french", the name of a grammar and of a babel option.
    """
    grammar = Grammar(rng, read_rules(language))
    title, abstract = grammar.sentences("title"), grammar.sentences("sentence", 3)
    parts: list[str] = []
    while sum(map(len, parts)) < n_bytes:
        parts.append(f"\\section{{{grammar.sentences('heading')}}}")
        parts += [grammar.sentences("sentence", rng.randint(3, 6)) for _ in range(rng.randint(4, 7))]
        parts.append(f"\\[ {grammar.expand('formula')}. \\]")
    body = "\n\n".join(parts)
    return (
        title,
        abstract,
        f"\\documentclass[12pt]{{article}}\n\\usepackage[utf8]{{inputenc}}\n\\usepackage[{language}]{{babel}}\n"
        f"\\begin{{document}}\n\\title{{{title}}}\n\\maketitle\n\\begin{{abstract}}\n{abstract}\n\\end{{abstract}}\n\n"
        f"{body}\n\\end{{document}}\n",
    )
