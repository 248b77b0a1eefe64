"""Benchmarks: image quality, measured files, speed; each number beside a baseline of the same run.

Torch, scikit-image and matplotlib are imported only where they are used.
"""
