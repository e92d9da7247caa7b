"""Tokenizers of any make, seen as what stability.py measures: where their tokens end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece as spm
from tokenizers import Tokenizer

from analysis.tokenization.stability import Encoder
from configs.loader import UserError


def load(path: Path) -> tuple[int, Encoder]:
    """(number of pieces, encoder) of a .model, a tokenizer.json or a folder. Raises UserError."""
    if path.is_dir():
        names = [name for name in ("tokenizer.model", "tokenizer.json") if (path / name).is_file()]
        if not names:
            raise UserError(f"{path}: holds neither tokenizer.model nor tokenizer.json")
        path = path / names[0]
    if path.suffix == ".model":
        try:
            processor = spm.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise UserError(f"{path}: is no SentencePiece model: {error}") from None

        def by_sentencepiece(text: str) -> tuple[np.ndarray, str]:
            found = processor.encode(text, return_type="offset_mapping")
            return _ends(found["offsets"]), processor.decode(found["ids"])

        return processor.get_piece_size(), by_sentencepiece
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise UserError(f"{path}: is no tokenizer.json: {error}") from None
    # A file may say how long a text its model takes: here all of it is measured, and nothing else.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # `</s>` written in a paper is text

    def by_hugging_face(text: str) -> tuple[np.ndarray, str]:
        found = tokenizer.encode(text, add_special_tokens=False)
        return _ends(found.offsets), tokenizer.decode(found.ids, skip_special_tokens=False)

    return tokenizer.get_vocab_size(), by_hugging_face


def _ends(offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.array([end for _, end in offsets], dtype=np.int64)
