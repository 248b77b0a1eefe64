"""Tools for who works on this package."""
