"""What the tokenizer learns from, how text is encoded with it, and what it must pass before it is used.

In: the training split. Out: unit counts for SentencePiece, encoders that agree with it, Hugging Face
files. Read `text_units.py` first: it decides where a token may not cross a border.
"""
