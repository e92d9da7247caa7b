"""What models lose when formulas are written another way: `make symbol-losses SCALE=mini DATA=data/mini`.

In:  finished runs under $ARXIV_RUNS/<scale> (default: Run 20 and those with another tokenizer), each with its
     newest checkpoint; their tokenizers and the validation papers of corpus main in the data root.
Out: analysis/measurements/symbol_losses_<scale>.json: for each run, seed, change of
     analysis/tokenization/rewritings.py and paper the excess bits per byte,
     (bits of the changed text - bits of the text) / bytes of the text,
     with the hash of the checkpoint's manifest. A run whose checkpoint and texts are those of the file is
     kept, so that the same command goes on when more runs have finished.
A paper gives its paragraphs with formulas, up to MOST_BYTES, and its tokens follow an end-of-document token.
They are cut into windows of the run's sequence length; each is predicted once, from its window alone.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer

from analysis.tokenization.rewritings import CHANGES, excerpt
from benchmarks.measure import MEASUREMENTS, record
from configs.loader import UserError, default_data_root, default_runs_root, run_main
from train.checkpoint.load import MANIFEST, find_checkpoint, load_model, read_state, tokenizer_folder
from train.data.shards import open_tokens
from train.model.llama import PretrainModel
from train.model.loss import IGNORE

RUNS = ("run20", "run06", "run07", "run08", "run09")  # the tokenizer runs; their corpus is main
MOST_BYTES = 16_000  # of a paper: a run then takes about half a minute on one core
BATCH = 8  # windows in a forward pass
Texts = Mapping[str, str]  # paper -> text


def validation_texts(data: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(domain of each validation paper of corpus main, its paragraphs with formulas). Raises UserError."""
    folder = data / "corpus" / "main" / "split_corpus"
    domains, texts = {}, {}
    for path in sorted(folder.glob("*.parquet")):
        rows = pq.read_table(path, columns=["id", "domain", "text"], filters=[("split", "==", "val")])
        for row in rows.to_pylist():
            if text := excerpt(row["text"], MOST_BYTES):
                domains[row["id"]], texts[row["id"]] = row["domain"], text
    if not texts:
        raise UserError(f"{folder}: holds no validation paper with formulas: `make study` makes the corpus")
    return domains, texts


def bits(model: PretrainModel, ids: Sequence[int], eod_id: int, window: int) -> float:
    """Bits for a document's tokens, each predicted from those before it in its window."""
    n_rows = math.ceil(len(ids) / window)
    tokens = torch.full((n_rows * window + 1,), eod_id)
    tokens[: len(ids) + 1] = torch.tensor([eod_id, *ids])
    inputs_RT = tokens[:-1].view(n_rows, window)
    targets_RT = tokens[1:].view(n_rows, window).clone()
    targets_RT.view(-1)[len(ids) :] = IGNORE
    nats = 0.0
    with torch.no_grad():
        for first in range(0, n_rows, BATCH):
            rows = slice(first, first + BATCH)
            nats += float(model(inputs_RT[rows], targets_RT[rows])[1].double().sum())
    return nats / math.log(2)


def excesses(model: PretrainModel, tokenizer: Tokenizer, eod_id: int, window: int, texts: Texts) -> Any:
    """Change -> paper -> excess bits per byte; 0 for a paper that a change leaves as it is."""
    found: dict[str, dict[str, float]] = {name: {} for name in CHANGES}

    def bits_of(text: str) -> float:
        return bits(model, tokenizer.encode(text, add_special_tokens=False).ids, eod_id, window)

    for paper, text in texts.items():
        as_written, n_bytes = bits_of(text), len(text.encode())
        for name, change in CHANGES.items():
            changed = change(text)
            excess = 0.0 if changed == text else (bits_of(changed) - as_written) / n_bytes
            found[name][paper] = round(excess, 6)
    return found


def measure_run(folder: Path, data: Path, texts: Texts, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run's entry; `known` if that is about the same checkpoint. Raises UserError if files do not match."""
    checkpoint = find_checkpoint(folder)
    manifest = hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
    if known and known["manifest_sha256"] == manifest:
        return dict(known)
    model, run = load_model(checkpoint)
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "val")
    if run.recipe.mask_documents:
        model.keep_documents_apart(tokens.eod_id)
    path = tokenizer_folder(data, run, read_state(checkpoint).tokenizer_sha256) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # `</s>` written in a paper is text
    found = excesses(model.eval(), tokenizer, tokens.eod_id, run.recipe.sequence_length, texts)
    return {"manifest_sha256": manifest, "step": read_state(checkpoint).step, "excess_bits_per_byte": found}


def main() -> None:
    """Measure what is not measured yet. Raises UserError if no run is finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="mini", help="of the runs (default: mini)")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/<scale>)")
    parser.add_argument("--runs", nargs="+", default=RUNS, help=f"(default: {' '.join(RUNS)})")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data: Path = args.data or default_data_root(args.scale)
    root = default_runs_root() / args.scale
    folders = [done.parent for run in args.runs for done in sorted(root.glob(f"{run}/seed*/DONE"))]
    if not folders:
        raise UserError(f"{root}: none of {', '.join(args.runs)} is finished: `make study` trains them")
    domains, texts = validation_texts(data)
    content = {
        "most_bytes": MOST_BYTES,
        "texts_sha256": hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest(),
        "papers": {p: {"domain": domains[p], "bytes": len(text.encode())} for p, text in texts.items()},
        "runs": {},
    }
    path = MEASUREMENTS / f"symbol_losses_{args.scale}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if before.get("texts_sha256") == content["texts_sha256"]:
        content["runs"] = before["runs"]
    for folder in folders:
        run, seed = folder.parent.name, folder.name.removeprefix("seed")
        known = content["runs"].get(run, {}).get(seed)
        entry = measure_run(folder, data, texts, known)
        if entry != known:
            content["runs"].setdefault(run, {})[seed] = entry
            record(path.stem, content, ["torch"])
        print(f"{run} seed {seed}: {'unchanged' if entry == known else 'measured'}", flush=True)
    print(f"{path}: {len(texts)} papers, {len(folders)} finished runs here")


if __name__ == "__main__":
    run_main(main)
