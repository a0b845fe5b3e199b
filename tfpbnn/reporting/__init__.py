"""Writes what a posterior is worth on a page that anyone can read.

`report` predicts, and hands each output on as a `Section`: `scoring` computes
scores with their errors, `findings` puts them in words, `figures` draws, `rows`
lists the most uncertain ones, and `page` fills the template. To add a score or
a figure: a line in the table of its kind in `scoring.py` or `figures.py`, with
what it says in plain words; a warning: a function in `findings.py`.
"""

from tfpbnn.reporting.report import Report, report

__all__ = ["Report", "report"]
