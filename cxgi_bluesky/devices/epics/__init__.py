"""Devices over EPICS Channel Access, with the interfaces of the soft ones.

None of this is a safety system: the facility's personnel safety system is.
"""
