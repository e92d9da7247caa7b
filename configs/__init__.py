"""YAML configuration of every stage, run and scale, and the one loader that reads it."""

import sys
from importlib.util import find_spec

# One sentence for a Python that was not set up, before the first of many imports ends in a traceback.
_NEEDED = ("matplotlib", "pandas", "pyarrow", "pydantic", "yaml")
if _missing := ", ".join(name for name in _NEEDED if not find_spec(name)):
    print(
        f"error: {sys.executable} lacks {_missing}: run `make setup` in the checkout, then start the script "
        "with .venv/bin/python",
        file=sys.stderr,
    )
    sys.exit(2)
