r"""Rewrite papers of the sample in older dialects: LaTeX 2.09, plain TeX and AmSTeX.

Manuscripts are in LaTeX 2e (`manuscript.py`); these functions replace the constructs that occur there.
"""

import re

from preprocess.sample.manuscript import Manuscript

# LaTeX 2.09 and plain TeX have no amsmath; authors used these alphabets instead.
_OLD_ALPHABETS = {"mathbb": "bf", "mathfrak": "bf", "mathcal": "cal", "mathrm": "rm", "mathbf": "bf"}
_EMPH = re.compile(r"\\emph\{((?:[^{}]|\{[^{}]*\})*)\}")
_MISSING_IN_PLAIN = r"""\def\frac#1#2{{#1\over #2}}
\def\binom#1#2{{#1\choose #2}}
\def\qed{\hfill\vrule height6pt width5pt depth0pt}"""


def to_latex209(text: str) -> str:
    r"""A file of LaTeX 2e in LaTeX 2.09: with \documentstyle and without amsmath."""
    text = re.sub(r"\\documentclass(?:\[[^]]*\])?\{\w+\}", r"\\documentstyle[12pt,epsf]{article}", text)
    text = re.sub(r"\\usepackage(?:\[[^]]*\])?\{(?:amsmath.*|graphicx|hyperref|inputenc)\}\n", "", text)
    text = re.sub(r"\\usepackage\{(\w+)\}", r"\\input \1.sty", text)
    text = re.sub(
        r"\\DeclareMathOperator\*?\{\\(\w+)\}\{(\w+)\}", r"\\newcommand{\\\1}{\\mathop{\\rm \2}}", text
    )
    text = re.sub(r"\\operatorname\*?\{(\w+)\}", r"\\mathop{\\rm \1}", text)
    text = re.sub(r"\\includegraphics\[[^]]*\]\{(\w+)\}", r"\\epsffile{\1.eps}", text)
    text = re.sub(r"\\eqref\{([^}]*)\}", r"(\\ref{\1})", text)
    text = re.sub(r"\\binom\{([^{}]*)\}\{([^{}]*)\}", r"{\1 \\choose \2}", text)
    text = _EMPH.sub(r"{\\em \1\\/}", text)
    text = re.sub(
        r"\\begin\{align\*\}(.*?)\\end\{align\*\}",
        lambda m: "\\begin{eqnarray*}" + re.sub(r"&(=|\\\w+)", r"& \1 &", m[1]) + "\\end{eqnarray*}",
        text,
        flags=re.DOTALL,
    )
    proof = "\\newenvironment{prf}{\\noindent{\\bf Proof.}\\ }{\\hfill$\\Box$\\par\\medskip}\n"
    text = text.replace("\\begin{document}", proof + "\\begin{document}")
    text = text.replace("\\begin{proof}", "\\begin{prf}").replace("\\end{proof}", "\\end{prf}")
    return _old_alphabets(text)


def to_plain(manuscript: Manuscript, macros: str) -> str:
    """The whole paper in plain TeX; `macros` are the author's definitions."""
    numbers = _numbers(manuscript)
    sections = "\n\n".join(
        f"\\beginsection {i}. {s.title}\\par\n\n{_plain_text(s.text, numbers)}"
        for i, s in enumerate(manuscript.sections, 1)
    )
    references = "\n".join(
        f"\\item{{[{i}]}} {_plain_text(entry, numbers)}"
        for i, (_, entry) in enumerate(manuscript.references, 1)
    )
    return (
        f"\\magnification=\\magstep1\n{_MISSING_IN_PLAIN}\n{_old_alphabets(macros)}\n"
        f"\\centerline{{\\bf {manuscript.title}}}\n\\bigskip\n"
        f"\\centerline{{{', '.join(manuscript.authors)}}}\n\\bigskip\n"
        f"{{\\narrower\\noindent{{\\bf Abstract.}} {_plain_text(manuscript.abstract, numbers)}\\par}}\n\n"
        f"{sections}\n\n\\beginsection References\\par\n\n{references}\n\\bye\n"
    )


def to_amstex(manuscript: Manuscript, macros: str) -> str:
    """The whole paper in AmSTeX with the style amsppt; `macros` are the author's definitions."""
    numbers = _numbers(manuscript)
    sections = "\n\n".join(
        f"\\head {i}. {s.title}\\endhead\n\n{_amstex_text(s.text, numbers)}"
        for i, s in enumerate(manuscript.sections, 1)
    )
    references = "\n".join(
        f"\\ref\\no{i}\\paper {_amstex_text(entry, numbers)}\\endref"
        for i, (_, entry) in enumerate(manuscript.references, 1)
    )
    return (
        f"\\input amstex\n\\documentstyle{{amsppt}}\n{_amstex_alphabets(macros)}\n\\topmatter\n"
        f"\\title {manuscript.title}\\endtitle\n"
        f"\\author {', '.join(manuscript.authors)}\\endauthor\n"
        f"\\abstract {_amstex_text(manuscript.abstract, numbers)}\\endabstract\n"
        f"\\endtopmatter\n\\document\n\n{sections}\n\n"
        f"\\Refs\n{references}\n\\endRefs\n\\enddocument\n"
    )


def _old_alphabets(text: str) -> str:
    return re.sub(
        rf"\\({'|'.join(_OLD_ALPHABETS)})\{{([^{{}}]*)\}}",
        lambda m: f"{{\\{_OLD_ALPHABETS[m[1]]} {m[2]}}}",
        text,
    )


def _numbers(manuscript: Manuscript) -> dict[str, str]:
    """The number that LaTeX would print for each label and each citation key."""
    numbers = {key: str(i) for i, (key, _) in enumerate(manuscript.references, 1)}
    numbers |= {section.label: str(i) for i, section in enumerate(manuscript.sections, 1)}
    for section in manuscript.sections:
        for i, label in enumerate(re.findall(r"\\label\{([^}]*)\}", section.text), 1):
            numbers[label] = f"{numbers[section.label]}.{i}"
    return numbers


def _without_references(text: str, numbers: dict[str, str]) -> str:
    text = re.sub(r"\\cite(?:\[([^]]*)\])?\{([^}]*)\}", lambda m: _cite(m[2], m[1], numbers), text)
    text = re.sub(r"\\eqref\{([^}]*)\}", lambda m: f"({numbers[m[1]]})", text)
    return re.sub(r"\\ref\{([^}]*)\}", lambda m: numbers[m[1]], text)


def _cite(keys: str, note: str | None, numbers: dict[str, str]) -> str:
    inside = ", ".join(numbers[key] for key in keys.split(","))
    return f"[{inside}, {note}]" if note else f"[{inside}]"


def _plain_text(text: str, numbers: dict[str, str]) -> str:
    text = _without_references(text, numbers)
    text = re.sub(
        r"\\begin\{equation\}\\label\{([^}]*)\}\s*(.*?)\s*\\end\{equation\}",
        lambda m: f"$$\n{m[2]}\n\\eqno({numbers[m[1]]})\n$$",
        text,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"\\begin\{align\*\}\s*(.*?)\s*\\end\{align\*\}",
        lambda m: "$$\\eqalign{\n" + m[1].replace("\\\\", "\\cr") + "\\cr}\n$$",
        text,
        flags=re.DOTALL,
    )
    text = _claims(text, numbers, "\\proclaim {title}. ", "\\par", "\\noindent{{\\it Proof.}} ", "\\qed")
    text = re.sub(r"\\footnote\{", r"\\footnote{*}{", text)
    return _old_alphabets(_EMPH.sub(r"{\\it \1\\/}", _items(text)))


def _amstex_text(text: str, numbers: dict[str, str]) -> str:
    text = _without_references(text, numbers)
    text = re.sub(
        r"\\begin\{equation\}\\label\{([^}]*)\}\s*(.*?)\s*\\end\{equation\}",
        lambda m: f"$$\n{m[2]}\n\\tag {numbers[m[1]]}\n$$",
        text,
        flags=re.DOTALL,
    )
    text = re.sub(
        r"\\begin\{align\*\}(.*?)\\end\{align\*\}", r"$$\n\\align\1\\endalign\n$$", text, flags=re.DOTALL
    )
    text = _claims(
        text, numbers, "\\proclaim{{{title}}} ", "\\endproclaim", "\\demo{{Proof}} ", "\\qed\\enddemo"
    )
    return _amstex_alphabets(_EMPH.sub(r"{\\it \1\\/}", _items(text)))


def _amstex_alphabets(text: str) -> str:
    text = re.sub(r"\\math(rm|bf)\{([^{}]*)\}", r"{\\\1 \2}", text)
    return (
        text.replace("\\mathbb{", "\\Bbb{").replace("\\mathfrak{", "\\frak{").replace("\\mathcal{", "\\Cal{")
    )


def _claims(text: str, numbers: dict[str, str], claim: str, end: str, proof: str, qed: str) -> str:
    """`text` with theorems and proofs in the commands of another dialect.

    `claim` and `proof` are format strings for what begins them; `claim` has the field `title`.
    """
    text = text.replace("\\begin{proof}\n", proof.format()).replace("\\end{proof}", qed)
    return re.sub(
        r"\\begin\{(\w+)\}(?:\[(\w+[^]]*)\])?\\label\{([^}]*)\}\n(.*?)\n\\end\{\1\}",
        lambda m: claim.format(title=f"{m[1].capitalize()} {numbers[m[3]]}") + f"{m[4]}{end}",
        text,
        flags=re.DOTALL,
    )


def _items(text: str) -> str:
    text = re.sub(r"\\(?:begin|end)\{(?:itemize|enumerate)\}\n?", "", text)
    return re.sub(r"^\\item ", r"\\item{--} ", text, flags=re.MULTILINE)
