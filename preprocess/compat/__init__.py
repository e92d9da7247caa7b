"""Clean papers as other published pipelines do, to compare what they keep with what this project keeps.

A recipe chooses a mode by `compat` in `extract_latex` and `normalize_text` (configs/corpora/redpajama.yaml).
Read `modes.py` first. Each mode is written from what the pipeline's authors describe and from what their
code was observed to do, faults included; a test has a case for each behaviour. docs/yield.md compares the
modes.
"""
