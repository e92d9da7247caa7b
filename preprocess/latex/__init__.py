"""From the bytes of a submission to clean text.

`extraction/` turns an archive into one flattened LaTeX source. `cleaning/` turns that source into text whose
prose and mathematics are as the authors wrote them. Read `lexer.py` first: both parts use it to find
commands, groups and verbatim text.
"""
