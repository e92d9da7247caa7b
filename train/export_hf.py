"""Export a checkpoint as a folder that transformers, vLLM and lm-eval can load.

    python train/export_hf.py runs/demo/run20/seed0 --out runs/demo/run20/seed0/hf

In:  a checkpoint, or a run's folder (its newest intact one), and the run's tokenizer in $DATA/tokenizers.
Out: model.safetensors (in the run's precision; a tied head is left out, as transformers expects),
     config.json, generation_config.json and the tokenizer's files. The folder appears only once complete.
The settings describe the training: in it every document follows an end-of-document token, so this token is
also BOS, and readers are told not to add it by themselves; positions end at the run's sequence length.
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
    """Write the folder. Raises UserError if checkpoint or tokenizer is missing, damaged or another one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoints/step_<n> or the run's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    arguments = parser.parse_args()
    # transformers imports DeepSpeed if it is installed. Named here, DeepSpeed neither guesses the device nor
    # prints its guess.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    disable_progress_bar()  # there is only one file to save
    checkpoint = find_checkpoint(arguments.checkpoint)
    source = hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
    out: Path = arguments.out
    marker = out / "exported_from.json"
    if marker.is_file() and json.loads(marker.read_text())["manifest_sha256"] == source:
        print(f"{out}: already exported from {checkpoint}, not made again")
        marker.touch()  # no older than the run that it belongs to, for slurm/submit_all.sh
        return
    model, run = load_model(checkpoint)
    data_root = arguments.data or default_data_root(run.scale)
    tokenizer = tokenizer_folder(data_root, run, read_state(checkpoint).tokenizer_sha256)
    llama, trained_positions = model.llama, run.recipe.sequence_length
    if run.recipe.precision == "bf16":
        llama.bfloat16()
    elif run.recipe.precision == "fp16":
        llama.half()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path in sorted(tokenizer.iterdir()):
        if path.is_file() and path.name != "report.json":
            shutil.copyfile(path, temporary / path.name)
    write_tokenizer_config(temporary, trained_positions)
    exported = AutoTokenizer.from_pretrained(temporary)
    special = {
        "bos_token_id": exported.bos_token_id,
        "eos_token_id": exported.eos_token_id,
        "pad_token_id": exported.pad_token_id,
    }
    llama.config.update(special | {"use_cache": True, "max_position_embeddings": trained_positions})
    llama.generation_config = GenerationConfig(**special)
    llama.save_pretrained(temporary)
    facts = {"run": run.run_id, "checkpoint": checkpoint.name, "manifest_sha256": source}
    (temporary / marker.name).write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
    print(f"{checkpoint}: exported to {out}")


def write_tokenizer_config(folder: Path, trained_positions: int) -> None:
    """Add to tokenizer_config.json the settings that readers would otherwise guess.

    `trained_positions` is the run's sequence length in tokens.
    """
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings |= {
        "bos_token": settings["eos_token"],  # lm-eval and others put it before a text
        # With byte fallback this token occurs in no text, so padding cannot be mistaken for text.
        "pad_token": settings["unk_token"],
        "padding_side": "left",  # generation continues at the right end, which must be text
        "add_bos_token": False,  # llama.cpp adds one by default
        "add_eos_token": False,
        "add_prefix_space": False,
        "model_max_length": trained_positions,
    }
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    run_main(main)
