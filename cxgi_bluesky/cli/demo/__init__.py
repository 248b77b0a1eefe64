"""``cxgi demo``: a scan of a simulated object and its images, on soft devices or over Channel Access."""
