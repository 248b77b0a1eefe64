"""How a board really lies on its stage, from exposures across the edges of its fiducials.

`plans.align_board` takes the exposures; here they are turned into an alignment, while the plan runs and afterwards from
its documents: orientations that are possible, a search, edge profiles, and the similarity that fits the centres.
"""

from .fit import AlignmentFit, EdgeFit, Visit, fit_alignment, fit_edges, profile_offsets_um
from .run import PURPOSE, alignment_from_run, write_aligned_board

__all__ = [
    "PURPOSE",
    "AlignmentFit",
    "EdgeFit",
    "Visit",
    "alignment_from_run",
    "fit_alignment",
    "fit_edges",
    "profile_offsets_um",
    "write_aligned_board",
]
