"""Masks: patterns, orders, boards, recorded speckle patterns, maps of tiles."""
