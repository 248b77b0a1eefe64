"""Example beamline files, one for each kind of detector, and one for the IOC that comes with the package."""
