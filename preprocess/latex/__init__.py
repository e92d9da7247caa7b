"""From the bytes of a submission to clean text.

`extraction/` turns an archive into one flattened LaTeX source; `cleaning/` turns that source into text whose
prose and mathematics are as written. Read `lexer.py` first: both parts rely on how it finds commands, groups
and verbatim text.
"""
