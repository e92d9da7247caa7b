"""The model and its loss.

In: token ids of shape (B, T). Out: a loss in nats with its gradient. Read `llama.py` first. `loss.py`
computes the loss without holding all logits, `execution.py` saves memory or time, `flops.py` counts FLOPs for
the MFU.
"""
