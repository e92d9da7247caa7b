"""Saving a run and going on with it.

`save.py` writes checkpoints in the background, `load.py` describes the files, checks and reads them,
`resume.py` chooses the one to go on from. Read `load.py` first: its docstring lists the files.
"""
