"""EPICS IOC that serves the simulated beamline over Channel Access (`cxgi ioc`). No safety system, no Bluesky in it."""
