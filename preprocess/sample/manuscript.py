r"""Manuscripts of the built-in sample: the content of an invented paper as LaTeX sections.

Each manuscript uses a random part of its subject's vocabulary and notation, so that a paper keeps to its
topic and no two papers share long phrases. `source.py` turns a manuscript into files (document class, macros,
dialect).
"""

import random
import textwrap
from dataclasses import dataclass

from preprocess.sample.grammar import Grammar, read_rules

GIVEN_NAMES = """
Ana Boris Chen Clara Daniel Elena Farid Greta Hugo Ines Jonas Keiko Lena Marco Nadia Olga Pedro Qing
Rosa Samir Tomas Ursula Viktor Wen Yusuf Zoe
""".split()
SURNAMES = """
Almeida Bergström Castellano Dvořák Eriksen Fontaine Gómez Hallberg Ivanova Jansen Kowalski Lefèvre
Müller Nakamura Okafor Petrov Quist Rossi Sørensen Takeda Ueda Vargas Weber Xiang Yilmaz Zoltán
""".split()

_THEOREMS = ("theorem", "lemma", "lemma", "proposition", "corollary", "definition", "remark", "example")
_PROVED = ("theorem", "lemma", "proposition", "corollary")
_COMMENTS = (
    "% TODO: check the constant once more",
    "% the referee asks for more detail here",
    "%\\input{old-version}",
    "% 100\\% sure? the older draft had a factor 2 too many",
    "%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
    "% see the notes of last week; $x = y$ is not needed",
)
_LISTING = """def {name}(items, limit={n}):
    # keep what is divisible: the % below is no comment of LaTeX
    chosen = [item for item in items if item % {d} == 0]
    while len(chosen) > limit:
        chosen.{method}()
    return {{"size": len(chosen), "limit": limit}}"""


@dataclass(frozen=True)
class Section:
    """A section's title, label and LaTeX text."""

    title: str
    label: str
    text: str


@dataclass(frozen=True)
class Manuscript:
    """One paper. `references` are pairs (key, entry); `figures` are names of graphics without suffix."""

    category: str
    title: str
    authors: tuple[str, ...]
    abstract: str
    sections: tuple[Section, ...]
    references: tuple[tuple[str, str], ...]
    figures: tuple[str, ...]


class _Writer:
    """Writes the blocks of one manuscript and keeps the labels that later blocks may refer to."""

    def __init__(self, rng: random.Random, category: str) -> None:
        rules = read_rules(category)
        keep = {
            "adj": 0.6,
            "object": 0.6,
            "invariant": 0.7,
            "part": 0.7,
            "method": 0.7,
            "term": 0.8,
            "sym": 0.7,
        }
        narrowed = {
            name: rng.sample(rules[name], max(4, int(share * len(rules[name]))))
            for name, share in keep.items()
        }
        self.rng = rng
        self.grammar = Grammar(rng, rules | narrowed)
        self.references = tuple(self._reference() for _ in range(rng.randint(6, 16)))
        keys = [key for key, _ in self.references]
        self.grammar.rules |= {
            "key": keys,
            "cite": [f"\\cite{{{key}}}" for key in keys]
            + [f"\\cite[Section {i}]{{{keys[i]}}}" for i in range(2, 5)],
            "eqref": [],
            "secref": [],
            "table": ["tab:main"],
        }
        self.figures: list[str] = []
        self.n_labels = 0
        self.width = rng.choice((72, 78, 90, 100))  # columns at which this author wraps lines

    def _reference(self) -> tuple[str, str]:
        rng = self.rng
        names, year = people(rng, rng.randint(1, 3)), rng.randint(1965, 2020)
        title = self.grammar.sentences("bibtitle")
        journal = rng.choice(
            ("J. Pure Appl. Res.", "Proc. Theor. Sci.", "Ann. Form. Methods", "Lett. Gen. Stud.")
        )
        number, page = rng.randint(1, 300), rng.randint(1, 900)
        key = f"{names[0].split()[-1][:4].lower()}{year % 100:02d}{number}"
        key = "".join(c for c in key if c.isascii())
        pages = f"{page}--{page + rng.randint(8, 40)}"
        return key, f"{', '.join(names)}, \\emph{{{title}}}, {journal} {number} ({year}), {pages}."

    def label(self, kind: str) -> str:
        self.n_labels += 1
        return f"{kind}:{self.n_labels}"

    def prose(self, kind: str, n_sentences: int = 1) -> str:
        """One paragraph of sentences of a rule, wrapped."""
        text = self.grammar.sentences(kind, n_sentences)
        return textwrap.fill(text, self.width, break_long_words=False, break_on_hyphens=False)

    def equation(self) -> str:
        label = self.label("eq")
        formula = self.grammar.expand("rel")
        self.grammar.rules["eqref"].append(f"\\eqref{{{label}}}")
        return f"\\begin{{equation}}\\label{{{label}}}\n  {formula}.\n\\end{{equation}}"

    def align(self) -> str:
        lines = [f"  {self.grammar.fill('<lhs> &= <rhs>')}"]
        for _ in range(self.rng.randint(1, 3)):
            relation = self.rng.choice(("=", "=", r"\leq", r"\sim"))
            lines.append(self.grammar.fill(f"  &{relation} <rhs>"))
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + ".\n\\end{align*}"

    def displayed(self) -> str:
        """A paragraph that leads to a formula and goes on after it."""
        display = self.equation() if self.rng.random() < 0.6 else self.align()
        return f"{self.prose('sentence', 2)}\nThis leads to\n{display}\n{self.prose('sentence')}"

    def theorem(self) -> str:
        kind = self.rng.choice(_THEOREMS)
        label = self.label(kind[:3])
        name = f"[{self.rng.choice(self.grammar.rules['person'])}]" if self.rng.random() < 0.15 else ""
        text = f"\\begin{{{kind}}}{name}\\label{{{label}}}\n{self.prose('sentence', 2)}\n\\end{{{kind}}}"
        if kind not in _PROVED:
            return text
        steps = self.prose("proof", self.rng.randint(3, 6))
        return (
            f"{text}\n\n\\begin{{proof}}\n{steps}\n{self.align()}\n{self.prose('proof', 2)}\n\\end{{proof}}"
        )

    def items(self) -> str:
        kind = self.rng.choice(("itemize", "enumerate"))
        lines = "\n".join(f"\\item {self.prose('item')}" for _ in range(self.rng.randint(2, 4)))
        return f"{self.prose('sentence')} The following hold:\n\\begin{{{kind}}}\n{lines}\n\\end{{{kind}}}"

    def figure(self) -> str:
        name = f"fig{len(self.figures) + 1}"
        self.figures.append(name)
        width = f"0.{self.rng.randint(5, 9)}\\textwidth"
        return (
            f"\\begin{{figure}}[t]\n\\centering\n\\includegraphics[width={width}]{{{name}}}\n"
            f"\\caption{{{self.prose('caption')}}}\n\\label{{fig:{len(self.figures)}}}\n\\end{{figure}}"
        )

    def table(self) -> str:
        rows = "\n".join(
            f"{self.grammar.fill('<adj> & <num><digit> & 0.<num><digit> & $<term>$')} \\\\"
            for _ in range(self.rng.randint(3, 6))
        )
        return (
            f"\\begin{{table}}\n\\caption{{{self.prose('caption')}}}\n\\label{{tab:main}}\n"
            f"\\begin{{tabular}}{{lrrl}}\n\\hline\n"
            f"case & size & value & bound \\\\\n\\hline\n{rows}\n\\hline\n\\end{{tabular}}\n\\end{{table}}"
        )

    def listing(self) -> str:
        verb = self.rng.choice(("select", "prune", "collect", "sweep"))
        code = _LISTING.format(
            name=f"{verb}_{self.rng.randint(1, 99)}",
            n=self.rng.randint(2, 999),
            d=self.rng.randint(2, 99),
            method=self.rng.choice(("pop", "clear")),
        )
        opening = f"{self.prose('sentence')} In code, where \\verb|%| is the remainder:"
        return f"{opening}\n\\begin{{verbatim}}\n{code}\n\\end{{verbatim}}"

    def section(self, title: str, n_bytes: int, blocks: tuple[str, ...]) -> Section:
        """A section of at least `n_bytes` characters; `blocks` are names of methods or of rules."""
        label = self.label("sec")
        parts: list[str] = []
        while not parts or sum(map(len, parts)) < n_bytes:
            block = self.rng.choice(blocks)
            method = getattr(self, block, None)
            text = method() if method else self.prose(block, self.rng.randint(3, 6))
            if self.rng.random() < 0.08:
                text = f"{self.rng.choice(_COMMENTS)}\n{text}"
            parts.append(text)
        return Section(title, label, "\n\n".join(parts))


def people(rng: random.Random, n: int) -> tuple[str, ...]:
    """`n` invented names with different surnames."""
    return tuple(f"{rng.choice(GIVEN_NAMES)} {surname}" for surname in rng.sample(SURNAMES, n))


def write_manuscript(
    rng: random.Random, category: str, n_bytes: int, illustrated: bool = True, n_sections: int = 0
) -> Manuscript:
    """A paper of about `n_bytes` of TeX.

    `illustrated`: whether it may have figures, tables and listings. `n_sections`: sections between
    introduction and conclusion, 0 for a random number.
    """
    writer = _Writer(rng, category)
    n_core = n_sections or rng.randint(2, 4)
    writer.grammar.rules["secref"] = [f"Section~\\ref{{core:{i}}}" for i in range(1, n_core + 1)]
    writer.grammar.rules["eqref"] = ["\\eqref{eq:main}"]
    core = ["displayed", "displayed", "sentence", "theorem", "items"]
    core += ["theorem"] if category.startswith("math") else ["sentence"]
    if illustrated:
        core += {"c": ["listing", "figure"], "m": [], "h": ["figure"], "g": ["figure"], "q": ["figure"]}[
            category[0]
        ]

    main = f"\\begin{{equation}}\\label{{eq:main}}\n  {writer.grammar.expand('rel')}.\n\\end{{equation}}"
    opening = f"{writer.prose('intro', 4)}\n{main}\n{writer.prose('intro', 3)}"
    intro = writer.section("Introduction", n_bytes // 8, ("intro",))
    sections = [Section(intro.title, intro.label, f"{opening}\n\n{intro.text}\n\n{writer.prose('outline')}")]
    for i in range(1, n_core + 1):
        section = writer.section(
            writer.grammar.sentences("heading"), 3 * n_bytes // (4 * n_core), tuple(core)
        )
        sections.append(Section(section.title, f"core:{i}", section.text))
    if illustrated:
        last = sections[-1]
        evidence = f"{writer.prose('measured', 3)}\n\n{writer.table()}\n\n{writer.prose('measured', 3)}"
        sections[-1] = Section(last.title, last.label, f"{last.text}\n\n{evidence}")
    closing = writer.section(
        rng.choice(("Conclusion", "Discussion", "Open questions")), n_bytes // 12, ("discuss",)
    )
    return Manuscript(
        category=category,
        title=writer.grammar.sentences("title"),
        authors=people(rng, rng.randint(1, 4)),
        abstract=writer.prose("abstract", rng.randint(3, 6)),
        sections=(*sections, closing),
        references=writer.references,
        figures=tuple(writer.figures),
    )
