"""From an archive to one flattened LaTeX source.

In: the bytes of a submission as arXiv packs it. Out: the text of its main file with every included file
in its place, and a record of what was chosen. Read `archive.py` (unpacking within limits), `mainfile.py`
(choosing the main file) and `flatten.py` (following includes), in this order.
"""
