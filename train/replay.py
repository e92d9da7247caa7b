"""Show the text that a step of a run trained on, and check it against the log.

    python train/replay.py $RUNS/demo/run20/seed0 17

In:  the run's folder (config.yaml, log.<restart>.jsonl) and the token shards it was trained on.
Out: on standard output, a line for each document span of the step, and the text of each sequence.
If the hash of the spans differs from the one in the log, the script prints no text and exits with code 3.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import LawBroken, UserError, default_data_root, run_main
from train.checkpoint.load import tokenizer_folder
from train.config import read_config
from train.data.batches import TrainingData, step_samples
from train.data.shards import open_tokens
from train.log import log_files


def main() -> None:
    """Print the step's sequences. Raises LawBroken if they are not those that the log names, UserError."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("step", type=int, help="number of an optimiser step, from 1")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    arguments = parser.parse_args()
    run = read_config(arguments.run / "config.yaml")
    if run.recipe.source != "tokens":
        raise UserError(
            f"{arguments.run}: was trained from {run.recipe.source}, whose order has no sample numbers: only "
            f"steps of runs from token shards can be shown"
        )
    logged = logged_step(arguments.run, arguments.step)
    data_root = arguments.data or default_data_root(run.scale)
    tokens = open_tokens(data_root, run.recipe.corpus, run.recipe.tokenizer, "train")
    data = TrainingData(tokens, run)
    samples = step_samples(arguments.step, run)
    found = data.span_hash(samples)
    if found != logged["span_hash"]:
        raise LawBroken(
            f"{arguments.run}: step {arguments.step} trained on spans {logged['span_hash']}, but "
            f"{tokens.folder} gives {found}: tokens or recipe have changed since; restore those of the run"
        )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(data_root, run, tokens.tokenizer_sha256))
    print(f"{run.run_id}: step {arguments.step}, span_hash {found} as logged")
    batch = data.batch(samples)
    for row, sample in enumerate(samples.tolist()):
        print(f"--- sample {sample}, {data.domains[int(batch.domains_B[row])]}")
        for paper, first, end in data.spans(samples[row : row + 1]).tolist():
            print(f"    document {paper:016x}: tokens {first} to {end}")
        print(tokenizer.decode(batch.input_ids_BT[row].tolist() + batch.targets_BT[row, -1:].tolist()))


def logged_step(folder: Path, step: int) -> dict[str, Any]:
    """The `train` row of a step that led to the final weights. Raises UserError if there is none.

    A restart voids the rows of earlier starts beyond the step from which it resumed.
    """
    logs = log_files(folder)
    for log in reversed(logs):
        void_before = False
        with log.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break  # a killed process did not finish its last line
                row = json.loads(line)
                if row["kind"] == "train" and row["step"] == step:
                    return row
                void_before |= row.get("event") == "resume" and row["step"] < step
        if void_before:
            break
    raise UserError(f"{folder}: no log of step {step} in {len(logs)} log files; name a step that was trained")


if __name__ == "__main__":
    run_main(main)
