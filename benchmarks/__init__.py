"""Benchmarks and proofs that take minutes: `make bench-...` and `make prove-resume`.

Most benchmarks run a named peer beside the project's own code, print ratios and write them to
`analysis/measurements/<name>.json` (see `measure.py`). `prove_preprocess.py` and `prove_training.py` kill
processes at random moments and compare the output byte for byte.
"""
