"""HTML for one self-contained page: text, tables, figures, small curves. All text is escaped."""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape as escape
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

from analysis.figures import style
from analysis.table_text import Table, to_the_right

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSS = Path(__file__).with_name("report.css")
SHORT = 26  # characters that a cell holds on one line
CURVE_WIDTH, CURVE_HEIGHT = 240, 72  # units of the picture, about pixels

Points = Sequence[tuple[float, float]]


def page(title: str, introduction: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """The page. Each section is (id, heading, HTML)."""
    parts = list(sections)
    links = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in parts)
    body = "".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>{content}</section>\n'
        for name, heading, content in parts
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'  # without it a browser asks for /favicon.ico
        f"<title>{escape(title)}</title>\n<style>\n{CSS.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<header><h1>{escape(title)}</h1>{introduction}<nav>{links}</nav></header>\n"
        f"<main>\n{body}</main>\n</body>\n</html>\n"
    )


def prose(text: str) -> str:
    """Text, in which `this` is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def paragraph(text: str) -> str:
    """A paragraph of text."""
    return f"<p>{prose(text)}</p>\n"


def badge(verdict: str) -> str:
    """A verdict, coloured by its first words."""
    kind = verdict.split(":")[0].replace(" ", "-")
    return f'<span class="verdict {escape(kind)}">{escape(verdict)}</span>'


def table(made: Table) -> str:
    """A table that scrolls sideways within its own box, with caption and notes; verdicts are coloured."""
    right = to_the_right(made.header, made.rows)

    def cell(text: str, column: int, tag: str) -> str:
        kind = "number" if right[column] else "short" if len(text) <= SHORT else "long"
        is_verdict = tag == "td" and made.header[column] == "verdict"
        return f'<{tag} class="{kind}">{badge(text) if is_verdict else prose(text)}</{tag}>'

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(cell(text, column, tag) for column, text in enumerate(cells))}</tr>\n"

    rows = "".join(row(cells, "td") for cells in made.rows)
    notes = "".join(f'<p class="note">{prose(note)}</p>\n' for note in made.notes)
    return (
        f'<div class="table"><p class="caption">{prose(made.caption)}</p>'
        '<div class="wide" tabindex="0"><table>\n'
        f"<thead>{row(made.header, 'th')}</thead>\n<tbody>{rows}</tbody></table></div>{notes}</div>\n"
    )


def figure(drawn: "Figure") -> str:
    """A figure as an SVG in the page; its title, subtitle and note become text of the page.

    The same figure gives the same bytes: no date, and names of parts by a fixed salt.
    """
    title, subtitle, note = (" ".join(text.get_text().split()) for text in drawn.texts[:3])
    for text in drawn.texts[:3]:
        text.set_visible(False)
    file = io.BytesIO()
    with mpl.rc_context(style.rc() | {"svg.hashsalt": title}):
        drawn.savefig(file, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f"<figure><h3>{escape(title)}</h3>"
        f'<p class="note">{escape(subtitle)}</p><div class="wide" tabindex="0">'
        f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></div>'
        f"<figcaption>{prose(note)}</figcaption></figure>\n"
    )


def curve(mine: Points, base: Points, what: str) -> str:
    """A small picture of a curve, beside a grey one that it is compared with; empty without points."""
    if not mine:
        return ""
    xs, ys = zip(*mine, *base, strict=True)
    x_range, y_range = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0

    def line(points: Points, kind: str) -> str:
        placed = " ".join(
            f"{2 + (CURVE_WIDTH - 4) * (x - min(xs)) / x_range:.1f},"
            f"{2 + (CURVE_HEIGHT - 4) * (max(ys) - y) / y_range:.1f}"
            for x, y in points
        )
        return f'<polyline class="{kind}" points="{placed}"/>' if points else ""

    return (
        f'<svg class="curve" role="img" viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}">'
        f"<title>{escape(what)}</title>{line(base, 'base')}{line(mine, 'mine')}</svg>"
    )
