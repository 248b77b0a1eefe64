"""Soft devices over the physics of `cxgi_bluesky.simulation`."""

from .beamline import simulated_beamline as simulated_beamline
from .sandpaper import simulated_speckle_beamline as simulated_speckle_beamline
