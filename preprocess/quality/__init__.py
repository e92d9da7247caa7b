"""Two measures for filter_quality: perplexity under an n-gram model, and the diversity of what is dropped.

In: clean text. Out: a document's bits per byte under the model, and counts of distinct n-grams per verdict.
`preprocess/filter_quality.py` holds the rules and all other measures.
"""
