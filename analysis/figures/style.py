"""How every figure looks: themes, sizes, type, colours; PNG and PDF alike."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_IN = 6.8
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.72, 0.78, 0.72, 0.6  # right: room for labels at the ends of lines
ROW_GAP_IN, NOTE_LINE_IN, NOTE_CHARACTERS, LEGEND_ROW_IN = 0.22, 0.13, 126, 0.17
LEGEND_COLUMNS = 2
DPI = 200

# Okabe & Ito (2008): told apart with every kind of colour blindness. In grey several of them are alike, so
# runs that share a panel also have different dashes.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))
PAPER_RUNS = (
    "run20",
    "run23",
    "run24",
)  # have the first three colours and dashes, whatever stands beside them


INK, GREY = "#222222", "#5f5f5f"


@dataclass(frozen=True)
class Theme:
    """Colours, and how much larger than its layout in inches says a figure's type and margins are."""

    ink: str = INK
    grey: str = GREY
    faint: str = "#d9d9d9"
    grid: str = "#ebebeb"
    background: str = "#ffffff"
    colours: tuple[str, ...] = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
    scale: float = 1.3  # 9 points become 5.7 where a paper prints the figure 3.3 in wide, in one column
    line_pt: float = 1.6


THEMES = {
    "report": Theme(scale=1.0),  # of bars with text: read at full width
    "paper": Theme(),
    "talk": Theme(scale=1.6, line_pt=2.6, grey="#444444"),
    "dark": Theme(
        ink="#f0f0f0",
        grey="#b4b4b4",
        faint="#4a4a4a",
        grid="#333333",
        background="#181818",
        colours=(SKY, "#F0894C", "#35C99A", ORANGE, "#E3A5C7", "#9AD0F5"),
    ),
}
theme = THEMES["paper"]


def use(name: str) -> None:
    """Draw the figures that follow in one of THEMES."""
    global theme
    theme = THEMES[name]


def points(size: float) -> float:
    """A size of type in the theme."""
    return size * theme.scale


def rc() -> dict[Any, Any]:
    """matplotlib's settings for the theme."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
        "font.size": points(9),
        "text.color": theme.ink,
        "axes.labelsize": points(9),
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.grey,
        "axes.facecolor": theme.background,
        "figure.facecolor": theme.background,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "xtick.color": theme.grey,
        "ytick.color": theme.grey,
        "xtick.labelsize": points(8.5),
        "ytick.labelsize": points(8.5),
        "legend.frameon": False,
        "legend.fontsize": points(8.5),
        "lines.linewidth": theme.line_pt,
        "lines.solid_capstyle": "round",
        "savefig.dpi": DPI,
        "pdf.fonttype": 42,  # text stays text: searchable, editable
    }


def looks(run: str, among: Iterable[str] = ()) -> dict[str, Any]:
    """Colour and dashes of a run. `among`: the runs that share its panel; each gets its own pair."""
    order = [*PAPER_RUNS, *(other for other in among if other not in PAPER_RUNS)]
    index = order.index(run) if run in order else 0
    n_colours = len(theme.colours)
    shift = index // n_colours  # the second time round, each colour has another kind of dashes
    return {"color": theme.colours[index % n_colours], "ls": DASHES[(index + shift) % len(DASHES)]}


def new_figure(
    title: str,
    subtitle: str,
    note: str,
    heights_in: Iterable[float] = (2.9,),
    columns: int = 1,
    left_in: float = LEFT_IN,
    right_in: float = RIGHT_IN,
    gap: float = 0.5,
    legend_rows: int = 0,
    share_x: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A titled figure and its panels, top to bottom (`heights_in`) or left to right (`columns`).

    `gap`: between panels side by side, in widths of a panel. `legend_rows`: room for `figure_legend`.
    `share_x`: panels below each other have one x axis.
    """
    heights, scale = list(heights_in), theme.scale
    title_lines, subtitle_lines = wrap(title, int(72 / scale)), wrap(subtitle, int(104 / scale))
    more = 0.19 * (len(title_lines) - 1) + 0.15 * (len(subtitle_lines) - 1)
    note_lines = [line for part in note.split("\n") for line in wrap(part, int(NOTE_CHARACTERS / scale))]
    bottom = scale * (BOTTOM_IN + NOTE_LINE_IN * len(note_lines))
    top = scale * (TOP_IN + more + LEGEND_ROW_IN * legend_rows)
    row_gap = scale * ROW_GAP_IN * (1 if share_x else 3)
    height = top + sum(heights) + row_gap * (len(heights) - 1) + bottom
    with mpl.rc_context(rc()):
        figure = Figure(figsize=(WIDTH_IN, height))
        grid = figure.add_gridspec(
            len(heights),
            columns,
            height_ratios=heights,
            left=scale * left_in / WIDTH_IN,
            right=1 - scale * right_in / WIDTH_IN,
            top=1 - top / height,
            bottom=bottom / height,
            hspace=row_gap / (sum(heights) / len(heights)),
            wspace=gap * scale,
        )
        axes: list[Axes] = []
        stacked = columns == 1 and share_x
        for row in range(len(heights)):
            for column in range(columns):
                share = axes[0] if stacked and axes else None
                axes.append(figure.add_subplot(grid[row, column], sharex=share))
    for upper in axes[:-1] if stacked else []:
        upper.tick_params(axis="x", labelbottom=False)
    x, below_title = 0.12 / WIDTH_IN, 0.36 + 0.19 * (len(title_lines) - 1)
    texts = (
        (1 - scale * 0.12 / height, title_lines, 12, theme.ink, "top", "bold"),
        (1 - scale * below_title / height, subtitle_lines, 9, theme.grey, "top", "normal"),
        (0.08 / height, note_lines, 7, theme.grey, "bottom", "normal"),
    )
    for y, lines, size, colour, side, weight in texts:
        figure.text(
            *(x, y, "\n".join(lines)),
            size=points(size),
            weight=weight,
            color=colour,
            va=side,
            linespacing=1.3,
        )
    return figure, axes


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.pdf, free of dates so that the same data gives the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    with mpl.rc_context(rc()):
        for file in files:
            figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
    return files
