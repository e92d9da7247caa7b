"""How a stage runs: arguments, shards of work, the ledger, the columns of every file.

In: a command line and the shards of the stage before. Out: document shards and ledger shards; a file is
complete or it does not exist. Read `stage.py` first (it decides which shards are made again), then `job.py`,
`shard.py` and `ledger.py`; `schema.py` names the columns of every file that preprocessing writes.
"""
