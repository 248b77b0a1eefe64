"""Measurement: from the readings of exposures, or a file, to one `Measurement`."""
