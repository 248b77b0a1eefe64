"""The physics twin: source, mask, objects, detector. No Bluesky in it."""
