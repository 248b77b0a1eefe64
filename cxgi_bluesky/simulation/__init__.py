"""Simulation of the beamline: source, mask, objects, detector. No Bluesky in it."""
