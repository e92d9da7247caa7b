"""From token shards on disk to the batches of each step.

In: $DATA/tokens/<corpus>-<tokenizer>/. Out: `Batch` with inputs and targets of shape (B, T). `shards.py`
reads the files, `order.py` maps sample numbers to windows, and `batches.py` combines both. Read `batches.py`
first.
"""
