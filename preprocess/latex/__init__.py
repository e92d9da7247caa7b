"""From the bytes of a submission to clean text.

`extraction/` turns an archive into one flattened LaTeX source. `core/` turns that source into text whose
prose and mathematics are as the authors wrote them.
"""
