"""A run's bits per byte on held-out papers, beside those of `xz -9` on the same text.

    python -m benchmarks.compression runs/mini/run20/seed0 --data data/mini

In:  a finished run, the corpus and the token shards that it was trained on.
Out: a table; analysis/measurements/compression_<scale>_<run>.json.

The model is evaluated on all validation papers of each domain, not only on those that the run's log follows.
xz compresses the papers of each domain as one file and, in the last line, those of all domains; larger files
favour xz.
"""

import argparse
import json
import lzma
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import record
from configs.loader import run_main
from preprocess.pipeline.shard import read_rows, shards
from tests.conftest import ROOT
from train.checkpoint.load import find_checkpoint, read_state
from train.config import read_config


def validation_texts(corpus: Path) -> dict[str, bytes]:
    """Text of the validation papers by domain."""
    texts: dict[str, bytes] = {}
    for shard in shards(corpus):
        for row in read_rows(shard, ("domain", "split", "text")):
            if row["split"] == "val":
                texts[row["domain"]] = texts.get(row["domain"], b"") + row["text"].encode()
    return texts


def xz_bits_per_byte(text: bytes) -> float:
    """Bits per byte after `xz -9`."""
    return 8 * len(lzma.compress(text, preset=9)) / len(text)


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    checkpoint = find_checkpoint(arguments.run)
    run = read_config(checkpoint / "config.yaml")
    command = [sys.executable, "train/evaluate.py", checkpoint, "--data", arguments.data, "--tokens", 10**12]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {row["domain"]: row for row in map(json.loads, done.stdout.splitlines())}

    texts = validation_texts(arguments.data / "corpus" / run.recipe.corpus / "split_corpus")
    figures = {}
    for domain, text in texts.items():
        assert rows[domain]["n_bytes"] == len(text), domain
        figures[domain] = {
            "bytes": len(text),
            "model_bits_per_byte": rows[domain]["bits_per_byte"],
            "xz_bits_per_byte": xz_bits_per_byte(text),
        }
    total = sum(map(len, texts.values()))
    figures["all"] = {
        "bytes": total,
        "model_bits_per_byte": sum(r["bits_per_byte"] * r["n_bytes"] for r in rows.values()) / total,
        "xz_bits_per_byte": xz_bits_per_byte(b"".join(texts.values())),
    }
    for domain, row in figures.items():
        print(
            f"{domain:>8}: {row['bytes']:10,} bytes, model {row['model_bits_per_byte']:.3f}, "
            f"xz -9 {row['xz_bits_per_byte']:.3f} bits per byte"
        )
    name = f"compression_{run.scale}_{run.name}"
    step = read_state(checkpoint).step
    record(name, {"run": run.run_id, "step": step, "held_out": figures}, ("torch", "transformers"))


if __name__ == "__main__":
    run_main(main)
