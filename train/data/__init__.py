"""From token shards on disk to the batches of each step.

`shards.py` reads the files, `order.py` decides which window sample k is, `batches.py` puts both
together. Read `batches.py` first.
"""
