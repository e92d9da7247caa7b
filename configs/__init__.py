"""YAML configuration of every stage, run and scale, the one loader that reads it, and what scripts share."""

import sys
from importlib.util import find_spec


def require(*packages: str) -> None:
    """End a Python that was not set up with one sentence, before an import ends it with a traceback."""
    if missing := ", ".join(name for name in packages if not find_spec(name)):
        print(
            f"error: {sys.executable} lacks {missing}: run `make setup` in the checkout, then start the "
            "script with .venv/bin/python",
            file=sys.stderr,
        )
        sys.exit(2)
