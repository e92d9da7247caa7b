"""Measures of a document that quality rules judge: diversity of its n-grams, perplexity under an n-gram
model.

In: clean text. Out: numbers, stored beside the text so that thresholds can change without a second
reading. `preprocess/filter_quality.py` holds the rules and measures language and repetition itself.
"""
