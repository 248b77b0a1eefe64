"""What a check finds: one line each, where, what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    where : str
        Device and part, as in the beamline file.
    what : str
        What is wrong, with names and values.
    remedy : str
        What to do.
    """

    where: str
    what: str
    remedy: str


def table(findings: Sequence[Finding]) -> str:
    """The findings as a table for people, one line each."""
    rows = [("where", "what is wrong", "what to do"), *((f.where, f.what, f.remedy) for f in findings)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{where:{widths[0]}}  {what:{widths[1]}}  {remedy}" for where, what, remedy in rows)
