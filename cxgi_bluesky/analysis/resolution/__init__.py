"""Resolution of an image: width of an edge, MTF, width of a gap; size of the source."""

from ..knife_edge import KnifeGeometry, SpotSize, fit_knife_edge, fit_knife_scan
from .edge import Edge, measure_edge
from .gap import Gap, measure_gap
from .mtf import Comparison, EdgeSpread, Mtf, Sharpness, compare_sharpness, edge_mtf, edge_spread, measure_sharpness

__all__ = [
    "Comparison",
    "Edge",
    "EdgeSpread",
    "Gap",
    "KnifeGeometry",
    "Mtf",
    "Sharpness",
    "SpotSize",
    "compare_sharpness",
    "edge_mtf",
    "edge_spread",
    "fit_knife_edge",
    "fit_knife_scan",
    "measure_edge",
    "measure_gap",
    "measure_sharpness",
]
