"""Which documents repeat each other, and which repeat a benchmark.

In: the words of each document. Out: pairs of documents with their measured overlap, and one
representative for each set. Read `ngrams.py` (hashing words) and `minhash.py` (finding candidate pairs)
first; `duplicates.py` compares the candidates in full.
"""
