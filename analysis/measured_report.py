"""What reports on a benchmark have in common: they read its measurements and write one figure and tables."""

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures import sidecar, style
from analysis.table_text import Table, print_written
from configs.script import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASUREMENTS = Path(__file__).resolve().parent / "measurements"
Measured = dict[str, Any]


def read(path: Path, keys: Collection[str], target: str) -> Measured:
    """The measurements. Raises UserError if there are none or `keys` are missing; `target` makes them."""
    try:
        measured: Measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; make {target} writes it") from None
    if missing := set(keys) - set(measured):
        raise UserError(f"{path}: holds no {', '.join(sorted(missing))}: run make {target} again")
    return measured


def report(
    doc: str | None,
    name: str,
    keys: Collection[str],
    draw: "Callable[[Measured], Figure]",
    tables: Sequence[Callable[[Measured], Table]],
) -> None:
    """The script: parse the command line, write figure and tables, print the tables. Raises UserError.

    `name`: of the measurements, of the figure and of the make target, `bench-<name>`.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = MEASUREMENTS / f"{name}.json"
    parser.add_argument("--measured", type=Path, default=default, help=f"of make bench-{name}")
    parser.add_argument("--out", type=Path, default=Path("analysis/out") / name, help="default: %(default)s")
    parser.add_argument("--into", type=Path, help="a document that has the tables; put them in place there")
    args = parser.parse_args()
    measured = read(args.measured, keys, f"bench-{name}")
    figure = draw(measured)
    written = style.save(figure, args.out / name)
    written.append(sidecar.write(args.out / name, figure, [], {}, [args.measured]))
    for table in (make(measured) for make in tables):
        written += table.write(args.out)
        print(table.markdown())
        if args.into:
            table.put_into(args.into)
    print_written(written)
