"""The live page, `cxgi web`: what the window of a session shows, for everyone at the beamline."""
