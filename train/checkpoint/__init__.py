"""Saving checkpoints and resuming from them.

In: a strategy's state. Out: checkpoints/step_<n>/ in the run's folder. `load.py` checks and reads
checkpoints, `save.py` writes them in the background, `resume.py` chooses the one to resume from. Read
`load.py` first: its docstring lists the files.
"""
