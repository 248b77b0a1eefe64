"""Reconstruction: from a measurement to an image, its uncertainty and its quality."""

from .api import reconstruct as reconstruct
from .api import reconstruct_many as reconstruct_many
from .residual_lines import ResidualLine as ResidualLine
from .residual_lines import residual_lines as residual_lines
from .result import Reconstruction as Reconstruction
