"""How several processes train one model.

`world.py` starts and ends the processes. `ddp.py` holds the interface that the training loop calls and its
simplest implementation; `zero.py` and `fsdp.py` shard the state over processes; `pcgrad.py` projects the
domains' gradients; `strategy.py` selects one of them; `stop.py` handles signals. Read `ddp.py` first.
"""
