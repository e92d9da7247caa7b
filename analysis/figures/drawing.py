"""Lines of a panel: a curve with its band and its raw values, marks of resumes and of skipped steps."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.figures.curves import Smoothing, envelope, over_seeds
from analysis.figures.words import progress
from analysis.readers.run_logs import RunLog


def draw(
    axes: Axes,
    frames: Sequence[pd.DataFrame],
    column: str,
    smoothing: Smoothing | None,
    raw: str | None = None,
    **line: Any,
) -> pd.DataFrame:
    """Draw `column` over tokens: smoothed mean and band over seeds. Returns `over_seeds`.

    `raw`: what the legend calls the unsmoothed values, which are then drawn faintly behind; a name that
    begins with "_" stays out of the legend.
    """
    colour = line["color"]
    if raw:
        for frame in frames:
            label = raw if frame is frames[0] else "_"
            axes.plot(*envelope(frame, column), color=colour, lw=0.5, alpha=0.3, zorder=1.5, label=label)
    curve = over_seeds(frames, column, smoothing)
    if len(frames) > 1:
        axes.fill_between(
            curve["tokens"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0, zorder=1.8
        )
    axes.plot(curve["tokens"], curve["mean"], **{"zorder": 2.5, "lw": style.theme.line_pt, **line})
    return curve


MARKS = {  # event → (marker, height in the axes, what the legend calls it)
    "resume": ("^", 0.0, "resumed"),
    "spike": ("x", 0.03, "spike, step skipped"),
    "nan": ("X", 0.03, "not finite"),
}


def draw_marks(axes: Axes, logs: Sequence[RunLog]) -> None:
    """Where training was resumed, and where a guard kept a step from the weights."""
    colours = {"resume": style.theme.grey, "spike": style.theme.colours[1], "nan": style.theme.ink}
    named: set[str] = set()
    for log in logs:
        for name, rows in log.event[log.event["event"].isin(list(MARKS))].groupby("event"):
            marker, height, label = MARKS[str(name)]
            axes.plot(
                rows["tokens_seen"],
                [height] * len(rows),
                linestyle="",
                marker=marker,
                ms=4.5,
                color=colours[str(name)],
                transform=axes.get_xaxis_transform(),
                label="_" if label in named else label,
                clip_on=False,
                zorder=4,
            )
            named.add(label)


def finish(
    axes: Axes, logs: Sequence[RunLog], label: str, log: bool = True, marks: bool = True, legend: bool = True
) -> None:
    """Axes, marks and legend of a panel whose curves are drawn."""
    most = max(float(entry.train["tokens_seen"].max()) for entry in logs)
    panel.progress_axis(axes, most, progress(logs))
    if log:
        panel.log_axis(axes, label)
    else:
        axes.set_ylabel(label)
    if marks:
        draw_marks(axes, logs)
    if legend:
        panel.legend(axes)
