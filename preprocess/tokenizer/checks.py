"""Checks that a new tokenizer has to pass before any text is encoded with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece as spm
from tokenizers import Tokenizer

from configs.loader import LawBroken
from preprocess.tokenizer.encoders import ADVERSARIAL, encode_by_line, load_encoder


def check_texts(model: spm.SentencePieceProcessor, texts: Sequence[str]) -> dict[str, Any]:
    """Check that encoding loses nothing; return how many texts were checked, for the report.

    Raises LawBroken if decoding a text's tokens does not give the text, or if it yields a control token.
    """
    control = {model.unk_id(), model.bos_id(), model.eos_id()}
    for text in (*ADVERSARIAL, *texts):
        ids = model.encode(text)
        if model.decode(ids) != text:
            raise LawBroken(f"decoding its tokens does not give the text {_show(text)}")
        if control & set(ids):
            raise LawBroken(f"plain text is encoded as a control token: {_show(text)}")
    return {"texts_checked": len(texts), "adversarial_strings_checked": len(ADVERSARIAL)}


def check_encoders(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Check that all encoders give SentencePiece's ids; return the fast encoder's name, for the report.

    Raises LawBroken if an encoder gives other ids for any of `texts` or of the adversarial strings.
    """
    model, fast, name = load_encoder(folder / "tokenizer.model")
    hugging_face = Tokenizer.from_file(str(folder / "tokenizer.json"))
    hugging_face.encode_special_tokens = True  # the same as split_special_tokens in transformers
    for text in (*ADVERSARIAL, *texts):
        found = {
            name: fast(text),
            "sentencepiece by line": encode_by_line(model, text),
            "tokenizer.json": hugging_face.encode(text, add_special_tokens=False).ids,
        }
        ids = model.encode(text)
        for other, differing in found.items():
            if differing != ids:
                raise LawBroken(f"{other} and sentencepiece give different ids for {_show(text)}")
    return {"encoder": name}


def check_commands(model: spm.SentencePieceProcessor, commands: Sequence[str], room: int) -> dict[str, Any]:
    """The listed commands that are not one token, by themselves or after a blank, for the report.

    `room`: the most commands that the vocabulary may list. A list of at most half that length fits, so a
    command that is more than one token raises LawBroken. In a smaller vocabulary the last ones may be cut.
    """
    cut = [c for c in commands if any(len(model.encode(form)) != 1 for form in (c, " " + c))]
    if cut and 2 * len(commands) <= room:
        raise LawBroken(f"{len(cut)} of {len(commands)} listed commands are not one token: {cut[:5]}")
    return {"commands_cut": cut}


def _show(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
