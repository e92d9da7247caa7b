"""Check the inputs and run all stages one after the other in one process, as `make preprocess` does.

    python preprocess/all_stages.py --src src --metadata snapshot.json --data data --workers 8

In, out: those of the stages (configs/stages.py), with the same bytes as from the scripts one by one. One
process saves the start of each script, and the stages share their worker processes.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from configs.stages import TABLE, TOKEN_STAGES
from preprocess.pipeline.job import arguments

STAGES = [stage.name for stage in TABLE]


def main() -> None:
    """Run the `main` of each script in turn. Raises what they raise, and UserError for a `key=value`."""
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--tokenizer", default="main", help="a recipe in configs/tokenizers/ (default: main)")
    ours.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to run")
    shared = arguments(__doc__ or "", "all_stages", Config, parents=[ours])
    if keys := shared.parse_args().overrides:
        raise UserError(
            f"{keys[0]}: a key belongs to one stage: write it into the recipe of the corpus, or call "
            "preprocess/<stage>.py with it"
        )
    chosen, rest = ours.parse_known_args()
    for name in ("check_inputs", *STAGES[: STAGES.index(chosen.until) + 1]):
        own = ["--tokenizer", chosen.tokenizer] if name in TOKEN_STAGES else []
        sys.argv = [f"preprocess/{name}.py", *rest, *own]
        import_module(f"preprocess.{name}").main()


if __name__ == "__main__":
    run_main(main)
