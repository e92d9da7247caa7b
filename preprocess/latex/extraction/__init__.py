"""From an archive to one flattened LaTeX source.

In: the bytes of a submission as arXiv packs it. Out: the text of its main file, in which each include command
is replaced by the file that it names, and a record of which files were chosen and why. Read `archive.py`
(unpacks within limits), `mainfile.py` (chooses the main file) and `flatten.py` (follows includes), in this
order.
"""
