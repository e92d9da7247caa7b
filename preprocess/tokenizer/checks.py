"""What a tokenizer must keep before anything is encoded with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece as spm
from tokenizers import Tokenizer

from configs.loader import LawBroken
from preprocess.tokenizer.encoders import ADVERSARIAL, encode_by_line, load_encoder


def check_texts(model: spm.SentencePieceProcessor, texts: Sequence[str]) -> dict[str, Any]:
    """Facts for the report. Raises LawBroken where a text is not given back or becomes a control token."""
    control = {model.unk_id(), model.bos_id(), model.eos_id()}
    for text in (*ADVERSARIAL, *texts):
        ids = model.encode(text)
        if model.decode(ids) != text:
            raise LawBroken(f"decoding does not give back {_show(text)}")
        if control & set(ids):
            raise LawBroken(f"text becomes a control token: {_show(text)}")
    return {"texts_checked": len(texts), "adversarial_strings_checked": len(ADVERSARIAL)}


def check_encoders(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Facts for the report. Raises LawBroken where an encoder's ids are not those of whole documents."""
    model, fast, name = load_encoder(folder / "tokenizer.model")
    hugging_face = Tokenizer.from_file(str(folder / "tokenizer.json"))
    hugging_face.encode_special_tokens = True  # as transformers' split_special_tokens
    for text in (*ADVERSARIAL, *texts):
        found = {
            name: fast(text),
            "sentencepiece by line": encode_by_line(model, text),
            "tokenizer.json": hugging_face.encode(text, add_special_tokens=False).ids,
        }
        ids = model.encode(text)
        for other, differing in found.items():
            if differing != ids:
                raise LawBroken(f"{other} and sentencepiece give other ids for {_show(text)}")
    return {"encoder": name}


def check_commands(model: spm.SentencePieceProcessor, commands: Sequence[str], room: int) -> dict[str, Any]:
    """Facts for the report: the listed commands that are not one token, bare or after a blank.

    Where the list takes half of its room in the vocabulary or less there is place for all, and a command that
    is cut raises LawBroken. In a smaller vocabulary its last ones may be cut, and are named.
    """
    cut = [c for c in commands if any(len(model.encode(form)) != 1 for form in (c, " " + c))]
    if cut and 2 * len(commands) <= room:
        raise LawBroken(f"{len(cut)} of {len(commands)} listed commands are not one token: {cut[:5]}")
    return {"commands_cut": cut}


def _show(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
