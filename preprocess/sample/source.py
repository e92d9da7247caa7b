r"""Turn a manuscript into the files of a submission, written as authors of its year wrote TeX.

Dialects: LaTeX 2e, LaTeX 2.09, plain TeX, AmSTeX. Every paper defines the macros that its formulas use, in
one of several ways. Some papers have them in a style file, have a file for each section, or include a `.bbl`.
"""

import random
import re
import unicodedata
from dataclasses import dataclass, replace

from preprocess.sample.manuscript import Manuscript
from preprocess.sample.old_tex import to_amstex, to_latex209, to_plain

# Macros in the formulas of grammars/: name -> (number of arguments, body).
MACROS = {
    "RR": (0, r"\mathbb{R}"),
    "ZZ": (0, r"\mathbb{Z}"),
    "QQ": (0, r"\mathbb{Q}"),
    "CC": (0, r"\mathbb{C}"),
    "FF": (0, r"\mathbb{F}"),
    "cO": (0, r"\mathcal{O}"),
    "cH": (0, r"\mathcal{H}"),
    "fp": (0, r"\mathfrak{p}"),
    "eps": (0, r"\varepsilon"),
    "norm": (1, r"\left\| #1 \right\|"),
    "abs": (1, r"\left| #1 \right|"),
    "ket": (1, r"\left| #1 \right\rangle"),
    "bra": (1, r"\left\langle #1 \right|"),
    "inner": (2, r"\left\langle #1, #2 \right\rangle"),
    "pd": (2, r"\frac{\partial #1}{\partial #2}"),
}
OPERATORS = ("Hom", "rank", "tr", "argmin", "poly", "KL", "Var")
# Other names that authors give to these macros.
_ALIASES = {
    "RR": "R",
    "ZZ": "Z",
    "QQ": "Q",
    "eps": "ep",
    "norm": "nrm",
    "abs": "modulus",
    "inner": "ip",
    "cO": "OO",
}
_ENVIRONMENTS = {
    "theorem": "thm",
    "lemma": "lem",
    "proposition": "prop",
    "corollary": "cor",
    "definition": "defn",
    "remark": "rem",
    "example": "ex",
}
_ARGUMENT = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0308": '"', "\u030b": "H", "\u030c": "v"}
_LETTERS = {"ø": "{\\o}", "Ø": "{\\O}", "ß": "{\\ss}", "ı": "{\\i}"}


@dataclass(frozen=True)
class Source:
    """The files of a submission by name; `main` is the name of the main file."""

    main: str
    files: dict[str, bytes]

    @property
    def main_text(self) -> str:
        return self.main_bytes.decode()

    @property
    def main_bytes(self) -> bytes:
        return self.files[self.main]


def encode(text: str, encoding: str) -> bytes:
    """`text` in an encoding; characters that it lacks are written with TeX's accents."""
    return "".join(c if c.isascii() or _fits(c, encoding) else tex_accent(c) for c in text).encode(encoding)


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def tex_accent(character: str) -> str:
    r"""A letter in ASCII, with TeX's accent commands: `é` is `\'{e}`."""
    if character in _LETTERS:
        return _LETTERS[character]
    letter = unicodedata.normalize("NFD", character)
    return f"\\{_ACCENTS[letter[1]]}{{{letter[0]}}}"


def expand_macros(text: str) -> str:
    """`text` with MACROS and OPERATORS expanded, as the metadata need an abstract."""
    for name, (n_arguments, template) in MACROS.items():
        use = re.compile(rf"\\{name}(?![A-Za-z])" + _ARGUMENT * n_arguments)
        while match := use.search(text):
            body = template
            for i, argument in enumerate(match.groups(), 1):
                body = body.replace(f"#{i}", argument)
            text = text[: match.start()] + body + text[match.end() :]
    return re.sub(rf"\\({'|'.join(OPERATORS)})(?![A-Za-z])", r"\\operatorname{\1}", text)


def write_source(rng: random.Random, manuscript: Manuscript, year: int, dialect: str, layout: str) -> Source:
    """The files of a submission.

    `dialect`: latex2e, latex209, plain or amstex. `layout` of a LaTeX paper: single (one TeX file) or split
    (one file for each section, one for the macros, one for the bibliography).
    """
    encoding = "utf-8" if year >= 2010 else "ascii"
    if dialect in ("plain", "amstex"):
        text = (to_plain if dialect == "plain" else to_amstex)(manuscript, _plain_macros(manuscript))
        return Source("paper.tex", {"paper.tex": encode(text, "ascii")})
    latex = _Latex(rng, manuscript, year, encoding)
    files = latex.split_files() if layout == "split" else latex.single_file()
    if dialect == "latex209":
        files = {name: to_latex209(text) for name, text in files.items()}
    main = rng.choice(("main.tex", "ms.tex", "paper.tex", "article.tex"))
    named = {
        (f"{main[:-4]}.bbl" if name == "main.bbl" else main if name == "main.tex" else name): text
        for name, text in files.items()
    }
    figures = {}
    for name in manuscript.figures:
        suffix, data = figure_file(rng, year)
        figures[f"{name}{suffix}"] = data
    return Source(main, {name: encode(text, encoding) for name, text in named.items()} | figures)


def figure_file(rng: random.Random, year: int) -> tuple[str, bytes]:
    """(suffix, bytes) of a graphics file: a valid signature and random bytes, not a real image."""
    noise = rng.randbytes(rng.randint(200, 900))
    if year < 2005:
        return (
            ".eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + noise.hex().encode() + b"\n%%EOF\n",
        )
    return rng.choice(
        ((".pdf", b"%PDF-1.4\n" + noise + b"\n%%EOF\n"), (".png", b"\x89PNG\r\n\x1a\n" + noise))
    )


def _used(names: tuple[str, ...] | dict[str, tuple[int, str]], text: str) -> list[str]:
    """Those of the macro `names` that `text` uses."""
    return [name for name in names if re.search(rf"\\{name}(?![A-Za-z])", text)]


def _plain_macros(manuscript: Manuscript) -> str:
    """The definitions, in plain TeX, of the macros that a manuscript uses."""
    text = manuscript.abstract + "".join(section.text for section in manuscript.sections)
    lines = []
    for name in _used(MACROS, text):
        n_arguments, body = MACROS[name]
        lines.append(f"\\def\\{name}{''.join(f'#{i + 1}' for i in range(n_arguments))}{{{body}}}")
    lines += [f"\\def\\{name}{{\\mathop{{\\rm {name}}}\\nolimits}}" for name in _used(OPERATORS, text)]
    return "\n".join(lines)


class _Latex:
    """One paper in LaTeX. The author's habits are chosen once for the whole paper."""

    def __init__(self, rng: random.Random, manuscript: Manuscript, year: int, encoding: str) -> None:
        self.rng, self.manuscript, self.year, self.encoding = rng, manuscript, year, encoding
        self.short_names = rng.random() < 0.4  # thm, lem … for theorem, lemma …
        self.short_equations = rng.random() < 0.25  # \be … \ee
        self.aliases = _ALIASES if rng.random() < 0.35 else {}
        self.abstract = self._habits(manuscript.abstract)
        self.sections = [replace(s, text=self._habits(s.text)) for s in manuscript.sections]

    def _habits(self, text: str) -> str:
        """`text` as this author writes it: own names of macros, short environments."""
        for name, alias in self.aliases.items():
            text = re.sub(rf"\\{name}(?![A-Za-z])", f"\\\\{alias}", text)
        if self.short_names:
            text = re.sub(
                r"\\(begin|end)\{(\w+)\}", lambda m: f"\\{m[1]}{{{_ENVIRONMENTS.get(m[2], m[2])}}}", text
            )
        if self.short_equations:
            text = text.replace("\\begin{equation}", "\\be").replace("\\end{equation}", "\\ee")
        return text

    def _macros(self) -> str:
        text = self.abstract + "".join(section.text for section in self.sections)
        lines = []
        for name, (n_arguments, body) in MACROS.items():
            name = self.aliases.get(name, name)
            if not _used((name,), text):
                continue
            count = f"[{n_arguments}]" if n_arguments else ""
            parameters = "".join(f"#{i + 1}" for i in range(n_arguments))
            lines.append(
                self.rng.choice(
                    (
                        f"\\newcommand{{\\{name}}}{count}{{{body}}}",
                        f"\\newcommand{{\\{name}}}{count}{{{body}}}",
                        f"\\newcommand\\{name}{count}{{{body}}}",
                        f"\\providecommand{{\\{name}}}{count}{{{body}}}",
                        f"\\def\\{name}{parameters}{{{body}}}",
                    )
                )
            )
        for name in _used(OPERATORS, text):
            star = "*" if name == "argmin" else ""
            lines.append(
                self.rng.choice(
                    (
                        f"\\DeclareMathOperator{star}{{\\{name}}}{{{name}}}",
                        f"\\newcommand{{\\{name}}}{{\\operatorname{star}{{{name}}}}}",
                    )
                )
            )
        if self.short_equations:
            lines += ["\\newcommand{\\be}{\\begin{equation}}", "\\def\\ee{\\end{equation}}"]
        return "\n".join(lines)

    def _preamble(self, macros: str) -> str:
        math = self.manuscript.category.startswith("math")
        if math:
            document_class = self.rng.choice(("[11pt]{amsart}", "[12pt,a4paper]{article}", "{amsart}"))
        elif self.manuscript.category.startswith("cs"):
            document_class = self.rng.choice(("[conference]{IEEEtran}", "[11pt]{article}", "{llncs}"))
        else:
            document_class = self.rng.choice(
                ("[12pt]{article}", "[aps,prd,preprint]{revtex4}", "[a4paper]{article}")
            )
        packages = ["amsmath,amssymb,amsthm", "graphicx"] + (["hyperref"] if self.year > 2000 else [])
        lines = [f"\\documentclass{document_class}"]
        lines += ["\\usepackage[utf8]{inputenc}"] if self.encoding == "utf-8" else []
        lines += [f"\\usepackage{{{package}}}" for package in packages]
        for i, (name, short) in enumerate(_ENVIRONMENTS.items()):
            environment, within = short if self.short_names else name, "" if i else "[section]"
            shared = f"[{'thm' if self.short_names else 'theorem'}]" if i else ""
            lines.append(f"\\newtheorem{{{environment}}}{shared}{{{name.capitalize()}}}{within}")
        return "\n".join(lines) + f"\n% notation\n{macros}\n"

    def _front(self) -> str:
        authors = " \\and ".join(self.manuscript.authors)
        dated = "\\date{\\today}\n" if self.rng.random() < 0.5 else ""
        return (
            f"\\begin{{document}}\n\\title{{{self.manuscript.title}}}\n\\author{{{authors}}}\n{dated}\\maketitle\n\n"
            f"\\begin{{abstract}}\n{self.abstract}\n\\end{{abstract}}\n"
        )

    def _bibliography(self) -> str:
        entries = "\n\n".join(f"\\bibitem{{{key}}} {entry}" for key, entry in self.manuscript.references)
        return f"\\begin{{thebibliography}}{{99}}\n\n{entries}\n\n\\end{{thebibliography}}\n"

    def _section(self, index: int) -> str:
        section = self.sections[index]
        return f"\\section{{{section.title}}}\\label{{{section.label}}}\n\n{section.text}\n"

    def _end(self) -> str:
        thanks = "\\section*{Acknowledgements}\nWe thank our colleagues for many helpful discussions.\n\n"
        after = "\nOld remarks of ours that LaTeX never reads.\n" if self.rng.random() < 0.05 else ""
        return (thanks if self.rng.random() < 0.6 else "") + "{bibliography}\\end{document}\n" + after

    def single_file(self) -> dict[str, str]:
        """The paper in one file, now and then with a part hidden by \\iffalse."""
        body = "\n".join(self._section(i) for i in range(len(self.sections)))
        if self.rng.random() < 0.1:
            body = (
                f"\\iffalse\nAn older introduction, left out: \\ifmmode x\\else y\\fi and more.\n\\fi\n{body}"
            )
        end = self._end().replace("{bibliography}", self._bibliography())
        return {"main.tex": f"{self._preamble(self._macros())}{self._front()}\n{body}\n{end}"}

    def split_files(self) -> dict[str, str]:
        """A style file or an input for the macros, a file for each section, main.bbl for the bibliography."""
        folder = self.rng.choice(("sections/", "", "tex/"))
        command, macros = self.rng.choice(
            (("\\input", "\\input{macros}"), ("\\include", "\\usepackage{notation}"))
        )
        stem = self.rng.choice(("part", "sec"))
        names = [f"{folder}{stem}{i}" for i in range(len(self.sections))]
        inputs = "\n".join(f"{command}{{{name}}}" for name in names)
        end = self._end().replace("{bibliography}", "\\bibliographystyle{plain}\n\\bibliography{refs}\n")
        files = {
            "main.tex": f"{self._preamble(macros)}{self._front()}\n{inputs}\n\n{end}",
            "main.bbl": self._bibliography(),
        }
        files["macros.tex" if macros.startswith("\\input") else "notation.sty"] = self._macros() + "\n"
        return files | {f"{name}.tex": self._section(i) for i, name in enumerate(names)}
