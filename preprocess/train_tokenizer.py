"""Train the tokenizer: a lossless SentencePiece BPE in which a LaTeX command is one token.

    python preprocess/train_tokenizer.py --data data --tokenizer main

In:  the training split of a corpus (split_corpus).
Out: $DATA/tokenizers/<tokenizer>/: tokenizer.model; tokenizer.json and tokenizer_config.json, from which
     transformers' AutoTokenizer gives the same ids; and report.json (what it was trained on and which checks
     it passed).
When the corpus only grows, by new tars, the tokenizer stays, and so do the token shards that are made.
The stage splits a sample of the text at LaTeX commands, counts the pieces, lists the commands that many
papers use, and trains BPE on counts in which these come first (text_units.py). Encoding then needs no
splitting. (User-defined symbols for commands work less well, as Run 09 shows: an unlisted command is cut at a
listed prefix, and a leading space never merges with a symbol.)
"""

import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sentencepiece as spm
import xxhash
from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import CONFIGS, Config, UserError, read_yaml, run_main, validate, writing
from configs.variants import read_tokenizer_recipe
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.shard import code_hash, content_hash
from preprocess.pipeline.stage import Unit, progress, require_done, require_one_task, run_tasks, units_of
from preprocess.tokenizer import text_units
from preprocess.tokenizer.checks import check_commands, check_encoders, check_texts
from preprocess.tokenizer.growth import cleaned_hashes, corpus_recipe, count_added
from preprocess.tokenizer.huggingface import write_hf_files
from preprocess.tokenizer.training_text import buckets_to_take, bytes_by_bucket, sampled_texts

LONGEST_PIECE = 32  # characters; `\begin{proposition}` with its space has 20
CHARACTER_COVERAGE = 0.99999  # share of the text; rarer characters are spelt in bytes
TRAINER: dict[str, Any] = {
    "input_format": "tsv",
    "byte_fallback": True,
    "split_digits": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "add_dummy_prefix": False,
    "split_by_unicode_script": False,  # True would never join a backslash to letters
    "max_sentencepiece_length": LONGEST_PIECE,
    "max_sentence_length": 1 << 20,  # the default of 4192 silently drops longer lines
    "character_coverage": CHARACTER_COVERAGE,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "num_threads": 1,  # the pieces do not depend on it
    "minloglevel": 2,
}
CHECKED_TEXTS = 64  # of the sample, spread over the shards; the adversarial strings come on top
# A unit as frequent as the (vocabulary / 32)-th is certain to be learnt: bytes, alphabet and listed commands,
# with the merges that lead to them, take less than 31/32 of the vocabulary, even of 2,048 pieces.
CERTAIN_SHARE = 32


class TrainTokenizerConfig(Config):
    """The tokenizer's size, algorithm and training text."""

    vocab_size: int = Field(102400, ge=300)  # 256 bytes, control pieces and some characters need about 300
    allow_smaller: bool = False  # if the text is too short for vocab_size, take the largest size it allows
    sample_bytes: int = Field(2 << 30, gt=0)  # of training text, an equal share from each domain
    text: Literal["latex", "prose"] = "latex"  # prose: without mathematics and commands (Run 06)
    model_type: Literal["bpe", "unigram"] = "bpe"
    # How commands become single tokens: counts in tiers, user-defined symbols (Run 09), not at all (Run 08).
    commands: Literal["tiers", "symbols", "none"] = "tiers"
    command_min_papers: int = Field(3, ge=1)  # a command in fewer papers is its author's own macro
    command_max_share: float = Field(0.125, ge=0, le=1)  # largest share of the vocabulary for listed commands
    seed: int = 0
    corpus: str = "main"  # the corpus to train on; other corpora use the same tokenizer

    @property
    def command_room(self) -> int:
        """How many commands may be listed at most."""
        return int(self.vocab_size * self.command_max_share)


def tokenizer_config(name: str, scale: str, overrides: dict[str, Any]) -> TrainTokenizerConfig:
    """Read configs/tokenizers/<name>.yaml with its bases, and scale its vocab_size.

    A vocab_size in `overrides` (from the command line) is not scaled. Raises UserError if a file is missing
    or a key is invalid.
    """
    values, seen = read_tokenizer_recipe(name)
    factor = read_yaml(CONFIGS / "scales" / f"{scale}.yaml").get("vocab_size_factor", 1)
    origin = f"tokenizer {name!r} ({', '.join(f'{part}.yaml' for part in seen)})"
    config = validate(TrainTokenizerConfig, values | overrides, origin)
    if "vocab_size" in overrides:
        return config
    return config.model_copy(update={"vocab_size": round(config.vocab_size * factor)})


def choose_buckets(units: Sequence[Unit], config: TrainTokenizerConfig, workers: int) -> dict[str, int]:
    """How many hash buckets of each domain the sample contains (training_text.py)."""
    sums: dict[str, np.ndarray] = {}
    with progress("measuring text", units) as bar:
        for unit, some in run_tasks(measure_shard, [(unit, config.seed) for unit in units], workers):
            for domain, n_bytes in some.items():
                sums[domain] = sums[domain] + n_bytes if domain in sums else n_bytes
            bar.update(unit.n_bytes)
    return buckets_to_take(sums, config.sample_bytes)


def measure_shard(unit: Unit, seed: int) -> tuple[Unit, dict[str, np.ndarray]]:
    """(unit, bytes in each bucket of each domain: int64 [BUCKETS])."""
    return unit, bytes_by_bucket(unit.inputs[0], seed)


def count_shard(
    unit: Unit, buckets: dict[str, int], config: TrainTokenizerConfig
) -> tuple[Unit, Counter[str], Counter[str], int, int]:
    """Count a shard's part of the sample.

    Returns (unit, occurrences of each unit of text, papers with each command, documents, bytes).
    """
    counts: Counter[str] = Counter()
    papers: Counter[str] = Counter()
    n_documents = n_bytes = 0
    for latex in sampled_texts(unit.inputs[0], buckets, config.seed):
        text = text_units.prose_of(latex) if config.text == "prose" else latex
        found = text_units.count_units(text, cut_at_commands=config.commands != "none")
        counts.update(found)
        if config.commands != "none":
            papers.update(text_units.commands_among(found))
        n_documents += 1
        n_bytes += len(text.encode())
    return unit, counts, papers, n_documents, n_bytes


def train_model(
    counts: Counter[str], commands: Sequence[str], config: TrainTokenizerConfig, folder: Path
) -> Path:
    """Train on counts of text units; return the model file, in `folder`.

    `commands`: the listed commands. Raises UserError if the text is too short for the vocabulary or the
    vocabulary too small for bytes, characters and symbols.
    """
    symbols = ["\n", "\t", *(commands if config.commands == "symbols" else [])]
    weighed = counts
    # Unigram has no order of merges, so tiers would have no effect.
    if config.commands == "tiers" and config.model_type == "bpe":
        weighed = text_units.tier_counts(counts, commands, max(1, config.vocab_size // CERTAIN_SHARE))
    table = folder / "units.tsv"
    with writing(table), table.open("w", encoding="utf-8") as file:
        for unit, n in sorted(weighed.items(), key=lambda item: (-item[1], item[0])):
            file.write(f"{unit}\t{n}\n")
    try:
        # The model file records both names. Relative names give the same bytes in every folder.
        with contextlib.chdir(folder):
            spm.SentencePieceTrainer.train(
                input=table.name,
                model_prefix="tokenizer",
                model_type=config.model_type,
                vocab_size=config.vocab_size,
                user_defined_symbols=symbols,
                required_chars=text_units.alphabet(counts, CHARACTER_COVERAGE),
                **TRAINER,
            )
    except RuntimeError as error:
        if match := re.search(r"required_chars\. \d+ vs (\d+)", str(error)):
            raise UserError(
                f"vocab_size={config.vocab_size} has no room for bytes, characters and symbols, which take "
                f"{match[1]} pieces; set it higher"
            ) from None
        if not (match := re.search(r"value <= (\d+)", str(error))):
            raise
        if config.allow_smaller:
            smaller = config.model_copy(update={"vocab_size": int(match[1])})
            return train_model(counts, commands, smaller, folder)
        raise UserError(
            f"the corpus is too small for {config.vocab_size} pieces: at most {match[1]}; "
            "add text, or write `allow_smaller: true` into the recipe in configs/tokenizers/"
        ) from None
    table.unlink()
    (folder / "tokenizer.vocab").unlink()
    return folder / "tokenizer.model"


def _left_by_killed_runs(out: Path) -> list[Path]:
    # The names that mkdtemp gives, and their `.old`. The pattern `.main.*` would also match folders of a
    # tokenizer `main.v2`.
    ours = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}(\.old)?")
    return [path for path in out.parent.glob(".*") if ours.fullmatch(path.name)]


def main() -> None:
    """Run the stage."""
    parser = arguments(__doc__ or "", "train_tokenizer", TrainTokenizerConfig)
    parser.add_argument("--tokenizer", default="main", help="a recipe in configs/tokenizers/ (default: main)")
    job = parse(parser, "train_tokenizer")
    require_one_task(job)
    name = parser.parse_args().tokenizer
    with job.lock(name):
        train_tokenizer(job, name)


def train_tokenizer(job: Job, name: str) -> None:
    """Train the tokenizer `name`, unless it is finished or its recipe names another corpus to train on.

    Raises UserError if the corpus or that other corpus's tokenizer is missing, LawBroken if a check fails.
    """
    config = tokenizer_config(name, job.scale, job.overrides)
    corpus = job.corpus("split_corpus")
    require_done(job, "split_corpus")
    units = units_of(corpus)
    out = job.data / "tokenizers" / name
    report = out / "report.json"
    made = json.loads(report.read_text()) if report.is_file() else {}
    # Runs that differ only in their corpus share a tokenizer; a new one would be a second difference.
    if config.corpus != job.variant:
        own = (
            f"to train one on {job.variant!r}, write configs/tokenizers/NAME.yaml with `base: {name}` and "
            f"`corpus: {job.variant}`, and pass --tokenizer NAME (make: TOKENIZER=NAME)"
        )
        if not made:
            raise UserError(
                f"{out}: tokenizer {name!r} is trained on corpus {config.corpus!r}: run make preprocess "
                f"VARIANT={config.corpus} TOKENIZER={name} first; {own}"
            )
        print(
            f"train_tokenizer: {out}, trained on corpus {config.corpus!r}, serves {job.variant!r} too; {own}"
        )
        return
    code = code_hash("train_tokenizer.py")
    contents = [content_hash(unit.inputs[0]) for unit in units]
    input_hash = xxhash.xxh3_128_hexdigest("\0".join([config.model_dump_json(), code, *contents]).encode())
    for left_by_a_killed_run in _left_by_killed_runs(out):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    if made and made["input_hash"] == input_hash:
        print(f"train_tokenizer: {out} is finished, not made again")
        return
    recipe = xxhash.xxh3_128_hexdigest((config.model_dump_json() + code + corpus_recipe(job)).encode())
    cleaned = cleaned_hashes(job, [unit.name for unit in units])
    if n_new := count_added(made, recipe, cleaned):
        print(
            f"train_tokenizer: {out} is kept: the corpus has only grown, by {n_new} shards, and token shards "
            "and runs rest on it; to train it anew, on all shards, delete this folder"
        )
        return

    buckets = choose_buckets(units, config, job.workers)
    counts: Counter[str] = Counter()
    papers: Counter[str] = Counter()
    n_documents = n_bytes = 0
    tasks = [(unit, buckets, config) for unit in units]
    with progress("counting text", units) as bar:
        for unit, some, with_command, n, size in run_tasks(count_shard, tasks, job.workers):
            counts.update(some)
            papers.update(with_command)
            n_documents += n
            n_bytes += size
            bar.update(unit.n_bytes)
    if not counts:
        raise UserError(f"{corpus}: no text to train on in {config.sample_bytes:,} bytes; raise sample_bytes")
    commands = text_units.list_commands(
        papers, config.command_min_papers, config.command_room, max_length=LONGEST_PIECE - 1
    )
    print(f"train_tokenizer: {n_bytes:,} bytes, {len(counts):,} distinct units, {len(commands):,} commands")

    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out.parent))
    try:
        folder.chmod(0o755)
        model = train_model(counts, commands, config, folder)
        processor = spm.SentencePieceProcessor(model_file=str(model))
        of_each = -(-CHECKED_TEXTS // len(units))
        texts = [
            text
            for unit in units[:CHECKED_TEXTS]
            for text in islice(sampled_texts(unit.inputs[0], buckets, config.seed), of_each)
        ]
        facts = {
            "input_hash": input_hash,
            "recipe_hash": recipe,
            "cleaned": cleaned,
            "tokenizer_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "vocab_size": processor.get_piece_size(),
            "config": config.model_dump(),
            "n_documents": n_documents,
            "n_bytes": n_bytes,
            "n_units": len(counts),
            "commands": commands,
            **check_texts(processor, texts),
        }
        # Unigram is only for the report, not for training: encoders break ties in its sums differently.
        if config.model_type == "bpe":
            write_hf_files(model, folder, commands if config.commands == "symbols" else [])
            facts |= check_encoders(folder, texts)
            if config.commands == "tiers":
                facts |= check_commands(processor, commands, config.command_room)
        (folder / "report.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        if out.exists():
            old = folder.with_name(folder.name + ".old")
            out.rename(old)
            folder.rename(out)
            shutil.rmtree(old)
        else:
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"train_tokenizer: {facts['vocab_size']:,} pieces, {len(commands):,} commands listed: {out}")
    if cut := facts.get("commands_cut"):
        print(f"train_tokenizer: too small a vocabulary for {len(cut)} listed commands: {', '.join(cut[:5])}")


if __name__ == "__main__":
    run_main(main)
