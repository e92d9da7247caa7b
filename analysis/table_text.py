"""Tables as Markdown, CSV and LaTeX (booktabs). Cells are text; columns of numbers stand to the right."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.script import UserError

_NUMBER = re.compile(r"[-+–]?[\d.,]*( ?[%±×kMGTB]+)?|n/a")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "×": r"$\times$",
    "±": r"$\pm$",
    "β": r"$\beta$",
    "≈": r"$\approx$",
}


@dataclass(frozen=True)
class Table:
    """A table with a caption. Every row has a cell for each column of the header."""

    name: str  # of its files
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Caption, table, notes."""
        parts = [f"**{self.caption}**", markdown(self.header, self.rows), *self.notes]
        return "\n\n".join(parts) + "\n"

    def into(self, document: str) -> str:
        """A document with this table between its marks, in place of what stands there.

        The marks are the comments `<!-- table NAME -->` and `<!-- end -->`. Raises UserError without them.
        """
        before, begin, rest = document.partition(f"<!-- table {self.name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise UserError(
                f"the document has no place for the table {self.name}: <!-- table {self.name} -->"
            )
        return f"{before}{begin}{self.markdown()}{end}{after}"

    def put_into(self, path: Path) -> None:
        """Write the document `path` with this table `into` it."""
        path.write_text(self.into(path.read_text(encoding="utf-8")), encoding="utf-8")

    def csv(self) -> str:
        """Header and rows alone."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.header, *self.rows])
        return out.getvalue()

    def latex(self) -> str:
        """A `table` environment; the document needs `\\usepackage{booktabs}`."""
        alignment = "".join("r" if is_right else "l" for is_right in to_the_right(self.header, self.rows))
        lines = [" & ".join(map(escape_latex, row)) + r" \\" for row in (self.header, *self.rows)]
        notes = [rf"\par\footnotesize {escape_latex(note)}" for note in self.notes]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{escape_latex(self.caption)}}}",
                rf"\label{{tab:{self.name}}}",
                rf"\begin{{tabular}}{{{alignment}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                *notes,
                r"\end{table}",
                "",
            ]
        )

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.md, NAME.csv and NAME.tex; returns the files."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for suffix, text in (("md", self.markdown()), ("csv", self.csv()), ("tex", self.latex())):
            path = folder / f"{self.name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
        return written


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table in aligned columns, which reads well as plain text, too."""
    # A rule of one character would be a colon without a dash, which is no rule.
    widths = [max(2, *map(len, column)) for column in zip(header, *rows, strict=True)]
    right = to_the_right(header, rows)

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * (width - 1) + ":" if is_right else "-" * width
        for width, is_right in zip(widths, right, strict=True)
    ]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def escape_latex(text: str) -> str:
    """Text with the characters that LaTeX would take for commands written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_the_right(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[bool]:
    """For each column whether it holds numbers, which stand to the right."""
    return [all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))]


def print_written(files: Sequence[Path]) -> None:
    """Print the files that a script has written."""
    print(f"{len(files)} files written:", *files, sep="\n  ")
