"""The same tokenizer for transformers: its two JSON files from a SentencePiece model."""

import json
from pathlib import Path

import sentencepiece as spm
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

_SPACE = "\u2581"


def write_hf_files(model: Path, folder: Path) -> spm.SentencePieceProcessor:
    """Write tokenizer.json and tokenizer_config.json into `folder`; returns the model."""
    processor = spm.SentencePieceProcessor(model_file=str(model))
    names = {"unk": processor.unk_id(), "bos": processor.bos_id(), "eos": processor.eos_id()}
    tokens = {f"{name}_token": processor.id_to_piece(i) for name, i in names.items()}
    tokenizer = _bpe(processor, tokens["unk_token"])
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in tokens.values()]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,  # `</s>` written in a paper is text, never the control id
        **tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return processor


def _bpe(processor: spm.SentencePieceProcessor, unknown: str) -> Tokenizer:
    vocab = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    symbols = {
        piece
        for piece, i in vocab.items()
        if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)
    }
    # A user-defined symbol ("\n", "\t") never merges; it is a single character, so it takes part as one.
    mergeable = {piece: i for piece, i in vocab.items() if piece not in symbols and len(piece) > 1}
    merges = []
    for piece, rank in mergeable.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab and left not in symbols and right not in symbols:
                merges.append((rank, vocab[left], vocab[right], left, right))
    # SentencePiece merges the pair whose result was learnt first: ids of learnt pieces are in that order.
    merges.sort()
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[(left, right) for *_, left, right in merges],
            unk_token=unknown,
            byte_fallback=True,
            fuse_unk=False,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer
