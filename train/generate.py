"""Continue prompts with a checkpoint's model.

    python train/generate.py runs/demo/run20/seed0 --prompts prompts.txt

In:  a checkpoint, or a run's folder (its newest intact one); a text file with one prompt a line; the run's
     tokenizer in $DATA/tokenizers.
Out: on standard output, each prompt and its continuation.
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, default_data_root, run_main
from train.checkpoint.load import find_checkpoint, load_model, read_state, tokenizer_folder

TEMPERATURE = 0.8  # a usual compromise between repetition (lower) and incoherent text (1 and above)


def main() -> None:
    """Print each prompt's continuation. Raises UserError if there is no prompt or one fills the context."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoints/step_<n> or the run's folder")
    parser.add_argument("--prompts", type=Path, required=True, help="text file with one prompt on each line")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    parser.add_argument("--max-new-tokens", type=int, default=100, help="length of a continuation, at most")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    arguments = parser.parse_args()
    checkpoint = find_checkpoint(arguments.checkpoint)
    model, run = load_model(checkpoint)
    data_root = arguments.data or default_data_root(run.scale)
    sha256 = read_state(checkpoint).tokenizer_sha256
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(data_root, run, sha256))
    prompts = [line for line in arguments.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not prompts:
        raise UserError(f"{arguments.prompts}: holds no prompt; write one prompt on each line")
    llama = model.llama.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(arguments.seed)
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt").to(llama.device)
        room = run.model.max_position_embeddings - inputs["input_ids"].shape[1]
        if room < 1:
            raise UserError(f"{arguments.prompts}: {prompt[:40]!r}… fills the model's context; shorten it")
        output = llama.generate(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=min(arguments.max_new_tokens, room),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
            use_cache=True,
        )
        continuation = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        print(f"--- {prompt}\n{prompt}{continuation}\n")


if __name__ == "__main__":
    run_main(main)
