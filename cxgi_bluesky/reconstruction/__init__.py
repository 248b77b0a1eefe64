"""Reconstruction: from a measurement to an image, its uncertainty and its quality."""

from .api import reconstruct as reconstruct
from .api import reconstruct_many as reconstruct_many
from .result import Reconstruction as Reconstruction
