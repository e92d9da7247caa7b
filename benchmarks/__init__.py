"""Benchmarks and proofs that take minutes: `make bench-...` and `make prove-resume`.

Each benchmark runs a named peer beside the project's own code, prints ratios and writes them to
`analysis/measurements/<name>.json` (see `measure.py`). Each `prove_*.py` kills processes at random
moments and compares what comes out byte for byte.
"""
