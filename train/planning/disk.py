"""Disk space of a run, from the archives to its checkpoints."""

from train.config import Run
from train.model.llama import count_parameters
from train.planning.memory import moment_count

TOKEN_BYTES = 4  # uint32; packed shards take 17/8 bytes
# 200 GB of cleaned text for the paper's 52.18 B tokens. On 372 real papers with the tokenizer of scale mini,
# it is 3.27.
TEXT_BYTES_PER_TOKEN = 3.83
# Measured on 608 real papers, of which 372 are kept, per byte of cleaned text: zstd-compressed Parquet of all
# stages from extract_latex to deduplicate with all ledgers, and of the last stage, which is the corpus.
STAGES_BYTES_PER_TEXT_BYTE, CORPUS_BYTES_PER_TEXT_BYTE = 0.71, 0.25
# A guess: archives hold figures, too. arXiv stated 5.6 TB for PDFs and sources together in March 2023 (its
# page on bulk data); half of it, over the 87 GB of text that RedPajama took from all of arXiv, is 32.
RAW_BYTES_PER_TEXT_BYTE = 32


def checkpoint_bytes(run: Run) -> int:
    """The most bytes that a run's checkpoints take on disk, including the one being written."""
    saved = [step for step in range(1, run.steps_total + 1) if run.saves_after(step)]
    for_good = sum(map(run.keeps_for_good, saved))
    at_once = min(len(saved), for_good + run.recipe.keep_last + 1)
    return at_once * 4 * (count_parameters(run.model) + moment_count(run))  # fp32 weights and moments


def disk_bytes(run: Run) -> dict[str, float]:
    """Bytes of each part that a run needs on disk.

    All but the checkpoints are projected from the run's unique tokens by the ratios above, so they are those
    of a corpus of just that size. Archives and intermediate stages can be deleted when the corpus is made.
    """
    text = run.recipe.unique_tokens * TEXT_BYTES_PER_TOKEN
    return {
        "raw archives": text * RAW_BYTES_PER_TEXT_BYTE,
        "intermediate stages": text * STAGES_BYTES_PER_TEXT_BYTE,
        "corpus": text * CORPUS_BYTES_PER_TEXT_BYTE,
        "tokens": float(run.recipe.unique_tokens * TOKEN_BYTES),
        "checkpoints": float(checkpoint_bytes(run)),
    }
