"""Are the nodes of a job fit for training? Measured before a run starts, in seconds.

In: the processes that torchrun started on the job's nodes. Out: a report of each process, a verdict on each
node, and a line in the run's node_check.jsonl. `train/check_nodes.py` is the script; read `verdict.py` first.

`gpus.py` reads nvidia-smi and the kernel's log, `transport.py` reads how NCCL connects the processes,
`host.py` looks at memory and disks, `speed.py` times products and collectives, `history.py` keeps
the results.
"""
