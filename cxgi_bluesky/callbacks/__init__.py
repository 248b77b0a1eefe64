"""Callbacks: live images, progress and files of runs. All of them are advisory: their failure never stops a scan."""

from .checked_images import CheckedImages
from .live_reconstruction import (
    LiveCHMWCNN,
    LiveCorrelation,
    LiveReconstruction,
    LiveSpeckleCorrelation,
    LiveTV,
    LiveTVAL3,
    ReferenceRuns,
)
from .live_steering import LiveSteering
from .live_view import LiveView
from .progress import ScanProgress
from .run_export import RunExport

__all__ = [
    "CheckedImages",
    "LiveCHMWCNN",
    "LiveCorrelation",
    "LiveReconstruction",
    "LiveSpeckleCorrelation",
    "LiveSteering",
    "LiveTV",
    "LiveTVAL3",
    "LiveView",
    "ReferenceRuns",
    "RunExport",
    "ScanProgress",
]
