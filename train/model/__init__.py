"""The model and its loss.

In: token ids. Out: a loss in nats with its gradient. Read `llama.py` first; `execution.py` says how the same
numbers are computed with less memory or time.
"""
