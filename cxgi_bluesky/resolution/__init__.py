"""Resolution of a picture: width of an edge, MTF, width of a gap."""

from .edge import Edge, measure_edge
from .gap import Gap, measure_gap
from .mtf import EdgeSpread, Mtf, edge_mtf, edge_spread

__all__ = ["Edge", "EdgeSpread", "Gap", "Mtf", "edge_mtf", "edge_spread", "measure_edge", "measure_gap"]
