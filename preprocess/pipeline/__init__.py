"""How a stage runs: arguments, shards of work, the ledger, the columns of every file.

In: a command line and the shards of the stage before. Out: document shards and ledger shards that are
whole or absent. Read `stage.py` first (what makes a shard be made again), then `job.py`, `shard.py`,
`ledger.py`; `schema.py` names the columns of every file that preprocessing writes.
"""
