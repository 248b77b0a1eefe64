"""Beamline files: which device is behind which PVs, in YAML, checked key by key."""

from .load import BeamlineFile, example_path, examples, load_beamline, read_beamline_file

__all__ = ["BeamlineFile", "example_path", "examples", "load_beamline", "read_beamline_file"]
