"""How several processes train one model.

`world.py` starts and ends the processes; `ddp.py` holds the interface that the training loop calls and its
simplest form; `zero.py` and `fsdp.py` are the strategies that share memory out; `strategy.py` picks one. Read
`ddp.py` first.
"""
