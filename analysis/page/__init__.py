"""Pieces of HTML for analysis/report.py; html.py comes first."""
