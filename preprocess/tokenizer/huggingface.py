"""Convert a SentencePiece BPE model to the two JSON files that transformers loads; the ids stay the same."""

import json
from collections.abc import Sequence
from pathlib import Path

import sentencepiece as spm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

_SPACE = "\u2581"


def write_hf_files(model: Path, folder: Path, symbols: Sequence[str] = ()) -> spm.SentencePieceProcessor:
    """Write tokenizer.json and tokenizer_config.json into `folder`; return the loaded SentencePiece model.

    `symbols`: the model's user-defined symbols of more than one character.
    """
    processor = spm.SentencePieceProcessor(model_file=str(model))
    names = {"unk": processor.unk_id(), "bos": processor.bos_id(), "eos": processor.eos_id()}
    tokens = {f"{name}_token": processor.id_to_piece(i) for name, i in names.items()}
    tokenizer = Tokenizer(_bpe(processor, symbols))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in symbols])
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in tokens.values()]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # `</s>` in a paper is text and never becomes the control token
        **tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return processor


def _bpe(processor: spm.SentencePieceProcessor, symbols: Sequence[str]) -> models.BPE:
    vocab = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    apart = set(symbols) | {
        piece
        for piece, i in vocab.items()
        if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)
    }
    # "\n" and "\t" are user-defined symbols too, but need no special care: they are single characters, and no
    # piece of the model contains them.
    mergeable = {piece: i for piece, i in vocab.items() if piece not in apart and len(piece) > 1}
    merges = []
    for piece, rank in mergeable.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab and left not in apart and right not in apart:
                merges.append((rank, vocab[left], vocab[right], left, right))
    # SentencePiece first merges the pair whose result it learnt first. Its ids are in the order of learning.
    merges.sort()
    return models.BPE(
        vocab=vocab,
        merges=[(left, right) for *_, left, right in merges],
        unk_token=processor.id_to_piece(processor.unk_id()),
        byte_fallback=True,
        fuse_unk=False,
    )
