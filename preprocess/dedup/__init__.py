"""Which documents repeat each other, and which repeat a benchmark.

In: the words of each document. Out: pairs of documents with their overlap, and which documents to drop.
Read `ngrams.py` (hashing words) and `minhash.py` (finding candidate pairs) first; `duplicates.py` compares
the candidates in full, `overlap.py` compares validation with training papers, and `decontamination.py`
looks for benchmark questions.
"""
