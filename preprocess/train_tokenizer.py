"""Train the tokenizer: SentencePiece BPE in which a LaTeX command is one token and every byte comes back.

    python preprocess/train_tokenizer.py --data data --tokenizer main

In:  the training split of a corpus (split_corpus).
Out: $DATA/tokenizers/<tokenizer>/: tokenizer.model, tokenizer.json and tokenizer_config.json (transformers'
     AutoTokenizer gives the same ids), report.json (what it was trained on), written last.
The text is cut round LaTeX commands for training only, the pieces are counted, the counts of the commands
that many papers use are raised, and BPE is trained from the counts: no merge can then cross a command's
border, and encoding needs no cutting. (Commands as user-defined symbols do worse: an unlisted command is cut
at a listed prefix and a leading space never merges.)
"""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece as spm
import xxhash
from pydantic import Field

from configs.loader import CONFIGS, Config, UserError, read_yaml, run_main, validate
from preprocess.hf_tokenizer import write_hf_files
from preprocess.job import Job, arguments, parse
from preprocess.shard import code_hash, content_hash, read_rows
from preprocess.stage import Unit, progress, require_done, run_tasks, units_of

# `\begin{env}`, `\word`, `\symbol`, a word, each with one leading space; white space by itself. What is cut
# apart here is never merged. Newlines and tabs are symbols of their own.
_UNITS = re.compile(r" ?\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+|[^A-Za-z\s])| ?[^\s\\]+| +|\\")
_COMMAND = re.compile(r"\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+)")

TRAINER: dict[str, Any] = {
    "model_type": "bpe",
    "input_format": "tsv",
    "byte_fallback": True,
    "split_digits": True,
    "user_defined_symbols": ["\n", "\t"],
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "add_dummy_prefix": False,
    "split_by_unicode_script": False,  # True never joins a backslash to letters
    "max_sentencepiece_length": 32,
    "max_sentence_length": 1 << 20,  # the default of 4192 drops longer lines without a word
    "character_coverage": 0.99999,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "num_threads": 1,  # pieces are the same for any number
    "minloglevel": 2,
}


class TrainTokenizerConfig(Config):
    """How large, and from what."""

    vocab_size: int = Field(102400, ge=300)  # 256 bytes and some
    sample_bytes: int = Field(2 << 30, gt=0)  # of training text, shared equally by the domains
    command_min_papers: int = Field(3, ge=1)  # a command in fewer papers is its author's own macro
    command_max_share: float = Field(0.125, ge=0, le=1)  # of the vocabulary that listed commands may take
    command_boost: int = Field(20, ge=1)  # factor on a listed command's count, so that it becomes a piece
    seed: int = 0


def tokenizer_config(name: str, scale: str, overrides: dict[str, Any]) -> TrainTokenizerConfig:
    """configs/tokenizers/<name>.yaml at a scale. Raises UserError."""
    path = CONFIGS / "tokenizers" / f"{name}.yaml"
    values = read_yaml(path)
    factor = read_yaml(CONFIGS / "scales" / f"{scale}.yaml").get("vocab_size_factor", 1)
    config = validate(TrainTokenizerConfig, values | overrides, str(path))
    if "vocab_size" in overrides:
        return config
    return config.model_copy(update={"vocab_size": round(config.vocab_size * factor)})


def choose_documents(units: list[Unit], config: TrainTokenizerConfig) -> dict[str, set[str]]:
    """Ids to train on, by shard: papers in the order of a seeded hash until each domain has its bytes."""
    ranked: dict[str, list[tuple[int, str, str, int]]] = {}
    for unit in units:
        for row in read_rows(unit.inputs[0], ("id", "domain", "split", "text")):
            if row["split"] == "train":
                rank = xxhash.xxh3_64_intdigest(row["id"].encode(), seed=config.seed)
                ranked.setdefault(row["domain"], []).append(
                    (rank, row["id"], unit.name, len(row["text"].encode()))
                )
    chosen: dict[str, set[str]] = {unit.name: set() for unit in units}
    for papers in ranked.values():
        room = config.sample_bytes // len(ranked)
        for _, paper_id, name, n_bytes in sorted(papers):
            if room < n_bytes:
                break
            room -= n_bytes
            chosen[name].add(paper_id)
    return chosen


def count_shard(unit: Unit, ids: set[str]) -> tuple[Unit, Counter[str], Counter[str], int]:
    """(unit, occurrences of each unit of text, papers with each command, bytes) of the chosen documents."""
    counts: Counter[str] = Counter()
    papers: Counter[str] = Counter()
    n_bytes = 0
    for row in read_rows(unit.inputs[0], ("id", "text")):
        if row["id"] in ids:
            text = row["text"]
            counts.update(_UNITS.findall(text))
            papers.update(set(_COMMAND.findall(text)))
            n_bytes += len(text.encode())
    return unit, counts, papers, n_bytes


def list_commands(papers: Counter[str], config: TrainTokenizerConfig) -> list[str]:
    """The corpus's own command list: by number of papers, as many as the vocabulary has room for."""
    room = int(config.vocab_size * config.command_max_share)
    ranked = sorted(papers.items(), key=lambda item: (-item[1], item[0]))
    return [command for command, n in ranked[:room] if n >= config.command_min_papers]


def train_model(
    counts: Counter[str], commands: Iterable[str], config: TrainTokenizerConfig, folder: Path
) -> Path:
    """Train from counts; the model file in `folder`. Raises UserError where the text is too little."""
    for command in commands:  # both forms, so that both are learnt: bare and after a blank
        n = config.command_boost * (counts[command] + counts[" " + command])
        counts[command] = counts[" " + command] = n
    table = folder / "units.tsv"
    with table.open("w", encoding="utf-8") as file:
        for unit, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            file.write(f"{unit}\t{n}\n")
    try:
        # The model file records both names: relative ones make the same bytes wherever it is trained.
        with contextlib.chdir(folder):
            spm.SentencePieceTrainer.train(
                input=table.name, model_prefix="tokenizer", vocab_size=config.vocab_size, **TRAINER
            )
    except RuntimeError as error:
        if match := re.search(r"value <= (\d+)", str(error)):
            raise UserError(
                f"the corpus is too small for {config.vocab_size} pieces: at most {match[1]}; "
                f"bring more text, or pass vocab_size={match[1]} and a model with that vocabulary"
            ) from None
        raise
    table.unlink()
    (folder / "tokenizer.vocab").unlink()
    return folder / "tokenizer.model"


def main() -> None:
    """Train the tokenizer unless one from the same text and configuration is there."""
    parser = arguments(__doc__ or "", "train_tokenizer", TrainTokenizerConfig)
    parser.add_argument("--tokenizer", default="main", help="a recipe in configs/tokenizers/ (default: main)")
    job: Job = parse(parser, "train_tokenizer")
    name = parser.parse_args().tokenizer
    config = tokenizer_config(name, job.scale, job.overrides)
    corpus = job.corpus("split_corpus")
    require_done(corpus)
    units = units_of(corpus)
    out = job.data / "tokenizers" / name
    parts = [config.model_dump_json(), code_hash("train_tokenizer.py", "hf_tokenizer.py")]
    input_hash = xxhash.xxh3_128_hexdigest(
        "\0".join(parts + [content_hash(unit.inputs[0]) for unit in units]).encode()
    )
    report = out / "report.json"
    if report.is_file() and json.loads(report.read_text())["input_hash"] == input_hash:
        print(f"train_tokenizer: {out} is finished, not made again")
        return

    chosen = choose_documents(units, config)
    counts: Counter[str] = Counter()
    papers: Counter[str] = Counter()
    n_bytes = 0
    with progress("counting text", units) as bar:
        for unit, some, with_command, n in run_tasks(
            count_shard, [(unit, chosen[unit.name]) for unit in units], job.workers
        ):
            counts.update(some)
            papers.update(with_command)
            n_bytes += n
            bar.update(unit.n_bytes)
    commands = list_commands(papers, config)
    print(f"train_tokenizer: {n_bytes:,} bytes, {len(counts):,} distinct units, {len(commands):,} commands")

    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out.parent))
    try:
        folder.chmod(0o755)
        model = train_model(counts, commands, config, folder)
        check = write_hf_files(model, folder)
        facts = {
            "input_hash": input_hash,
            "vocab_size": config.vocab_size,
            "tokenizer_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "corpus": job.variant,
            "n_documents": sum(map(len, chosen.values())),
            "n_bytes": n_bytes,
            "n_units": len(counts),
            "commands": commands,
            "commands_one_piece": sum(check.piece_to_id(c) != check.unk_id() for c in commands),
        }
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
    print(
        f"train_tokenizer: {config.vocab_size:,} pieces, {facts['commands_one_piece']:,} of "
        f"{len(commands):,} listed commands are one token: {out}"
    )


if __name__ == "__main__":
    run_main(main)
