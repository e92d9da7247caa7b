"""What the tokenizer is trained on, how text is encoded with it, and how it is checked before use.

In: the training split. Out: counts of text units for SentencePiece, encoders that give the same ids, Hugging
Face files. Read `text_units.py` first: it decides which borders in the text no token crosses.
"""
