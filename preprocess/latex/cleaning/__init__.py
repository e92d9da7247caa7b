"""From flattened LaTeX to clean text, with one module for each rule.

In: the bytes of a flattened source. Out: the same bytes without what only matters to TeX, and the number of
bytes that each rule removed. Read `expand.py` first (macros), then `comments.py`, `conditionals.py`,
`environments.py`. `preprocess/normalize_text.py` says in which order the rules run.
"""
