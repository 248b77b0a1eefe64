"""EPICS IOC that serves the physics twin over Channel Access (`cxgi ioc`). No safety system, and no Bluesky in it."""
