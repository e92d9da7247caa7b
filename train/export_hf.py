"""Export a checkpoint as a folder that plain transformers (vLLM, lm-eval, …) loads.

    python train/export_hf.py runs/demo/run20/seed0 --out runs/demo/run20/seed0/hf

In:  a checkpoint, or a run's folder (its newest intact one), and the run's tokenizer in $DATA/tokenizers.
Out: model.safetensors (in the run's precision; a tied head is left out, as transformers expects),
     config.json, generation_config.json and the tokenizer's files. The folder is written aside and renamed.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import default_data_root, run_main
from train.checkpoint.load import MANIFEST, find_checkpoint, load_model, read_state, tokenizer_folder


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoints/step_<n> or the run's folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    arguments = parser.parse_args()
    # transformers imports DeepSpeed where it is installed, which then tells which device it guesses.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    disable_progress_bar()  # of one file
    checkpoint = find_checkpoint(arguments.checkpoint)
    source = hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
    out: Path = arguments.out
    marker = out / "exported_from.json"
    if marker.is_file() and json.loads(marker.read_text())["manifest_sha256"] == source:
        print(f"{out}: exported from {checkpoint} before, not made again")
        return
    model, run = load_model(checkpoint)
    data_root = arguments.data or default_data_root(run.scale)
    tokenizer = tokenizer_folder(data_root, run, read_state(checkpoint).tokenizer_sha256)
    eod_id = AutoTokenizer.from_pretrained(tokenizer).eos_token_id
    llama = model.llama
    if run.recipe.precision == "bf16":
        llama.bfloat16()
    llama.config.eos_token_id = eod_id
    llama.config.use_cache = True
    llama.generation_config = GenerationConfig(eos_token_id=eod_id, pad_token_id=eod_id)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    llama.save_pretrained(temporary)
    for path in sorted(tokenizer.iterdir()):
        if path.is_file() and path.name != "report.json":
            shutil.copyfile(path, temporary / path.name)
    facts = {"run": run.run_id, "checkpoint": checkpoint.name, "manifest_sha256": source}
    (temporary / marker.name).write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
    print(f"{checkpoint}: exported to {out}")


if __name__ == "__main__":
    run_main(main)
