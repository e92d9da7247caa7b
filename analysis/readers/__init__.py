"""Readers of what preprocessing and training wrote: run logs, ledgers, n-gram sketches.

In: files. Out: dataclasses that figures and tables use. Neither `preprocess` nor `train` is imported.
"""
