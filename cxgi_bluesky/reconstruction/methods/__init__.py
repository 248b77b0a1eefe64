"""Methods of reconstruction, one a file."""
