"""``cxgi demo``: a scan of a simulated object and its images, on simulated devices or over Channel Access."""
