"""Measures of a tokenizer, for tokenizers of any make.

In: a tokenizer and texts. Out: where its tokens end, and what that does to LaTeX commands. Read
`stability.py` first.
"""
