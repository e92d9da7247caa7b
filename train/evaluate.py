"""Evaluate a checkpoint on the same whole documents of each domain every time.

    python train/evaluate.py runs/full/run20/seed0 --split val [--out evaluation.val.jsonl]

In:  a checkpoint, or a run's folder (its newest intact one), and the token shards it was trained with.
Out: on standard output, one JSON line for each domain: which checkpoint and tokens; loss_nats and perplexity
     (of a token), bits_per_byte (of the text), n_tokens, n_bytes. With --out also in this file, which appears
     only once complete and is not made again for the same checkpoint and tokens.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, default_data_root, run_main
from train.checkpoint.load import MANIFEST, find_checkpoint, load_model, read_state
from train.data.shards import open_tokens
from train.parallel.strategy import DataParallel
from train.parallel.world import World
from train.validation import validate_model, validation_sets


def main() -> None:
    """Print the evaluation of each domain. Raises UserError where checkpoint and tokens do not match."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoints/step_<n> or the run's folder")
    parser.add_argument("--split", choices=("train", "val"), default="val", help="default: val")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    parser.add_argument("--tokens", type=int, help="tokens of each domain (default: as in the run)")
    parser.add_argument("--out", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    checkpoint = find_checkpoint(arguments.checkpoint)
    model, run = load_model(checkpoint)
    if arguments.tokens:
        run = run.with_recipe(validation_tokens=arguments.tokens)
    data_root = arguments.data or default_data_root(run.scale)
    tokens = open_tokens(data_root, run.recipe.corpus, run.recipe.tokenizer, arguments.split)
    if tokens.tokenizer_sha256 != read_state(checkpoint).tokenizer_sha256:
        raise UserError(
            f"{tokens.folder}: made with another tokenizer than {checkpoint}; pass the run's data root "
            f"as --data"
        )
    manifest = hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
    of = {
        "run_id": run.run_id,
        "split": arguments.split,
        "checkpoint": checkpoint.name,
        "manifest_sha256": manifest,
        "data_fingerprint": tokens.fingerprint,
        "validation_tokens": run.recipe.validation_tokens,
    }
    out: Path | None = arguments.out
    if out and (lines := lines_about(of, out)):
        print(lines, end="")
        out.touch()  # no older than the run that it belongs to, for slurm/submit_all.sh
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    if run.recipe.mask_documents:
        model.keep_documents_apart(tokens.eod_id)
    world = World(rank=0, size=1, device=device)
    # Only a strategy knows how to run the model in the run's precision; its optimiser is never stepped.
    strategy = DataParallel(model, torch.optim.SGD(model.parameters()), world, run, 1)
    lines = ""
    for result in validate_model(strategy, validation_sets(tokens, run)):
        line = json.dumps(of | result.row()) + "\n"
        print(line, end="")
        lines += line
    if out:
        temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        temporary.write_text(lines)
        temporary.replace(out)


def lines_about(of: dict[str, Any], out: Path) -> str:
    """The lines of a finished evaluation in `out`; empty if it has none of just this."""
    text = out.read_text() if out.is_file() else ""
    return text if text and of.items() <= json.loads(text.splitlines()[0]).items() else ""


if __name__ == "__main__":
    run_main(main)
