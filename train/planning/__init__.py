"""What a run needs: memory of its GPUs, time, energy, money and disk space.

Pure arithmetic over a resolved run: nothing here allocates a model or looks at this machine. Read `memory.py`
for the memory, `hours.py` for the time, `disk.py` for the disk; `report.py` puts them into tables.
"""
