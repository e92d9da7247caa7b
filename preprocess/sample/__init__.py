"""The built-in corpus: made-up papers in arXiv's own packaging, from a seed alone.

In: a seed and the grammars in `grammars/`. Out: bulk tars, a manifest and a metadata snapshot. Read
`manuscript.py` (what a paper says), `source.py` (how it is written as TeX) and `packaging.py` (how arXiv
stores it), in this order; `planted.py` lists the oddities that each stage must catch.
"""
