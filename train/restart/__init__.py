"""How a run comes back: what each rank says of itself, who notices a fault, and what happens then.

Every start of a run is an attempt with a folder of its own in the run's folder, `attempts/<name>/`:

    rank_<r>.json        the rank's state, renewed every few seconds: step, what it does, how it ended
    node_<name>          made by slurm/lib.sh on each node; holds torchrun's exit code if that is not 0
    STOP                 the batch shell asks the ranks to save and exit
    hang.json            made by whoever first notices that training does not go on; all ranks then write
    rank_<r>.stack.txt   their stacks; on CUDA also the flight recorder's trace, rank_<r>.nccl.pickle

`attempts/history.jsonl` keeps one line for each attempt that ended under Slurm. `attempt.py` holds these
files, `watchdog.py` runs in every rank, `decide.py` decides without reading anything, and `batch.py` is what
the batch shell calls. Read `decide.py` first.
"""
