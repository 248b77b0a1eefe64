"""Checking a beamline: what is wrong between a beamline file and its IOCs, and what to do."""

from .check import Report, check_beamline
from .passive import Finding, format_table

__all__ = ["Finding", "Report", "check_beamline", "format_table"]
