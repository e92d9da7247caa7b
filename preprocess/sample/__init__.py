"""The built-in sample: invented papers, packaged as arXiv does, that depend only on a seed.

In: a seed and the grammars in `grammars/`. Out: bulk tars, a manifest and a metadata snapshot. Read
`manuscript.py` (content of a paper), `source.py` (its TeX files) and `packaging.py` (how arXiv stores them),
in this order. `planted.py` lists the defective and unusual papers that each stage must recognise.
"""
