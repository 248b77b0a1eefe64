"""Ophyd devices: mask stage, shutter, diode, object stage, and the bundle that is a beamline."""
