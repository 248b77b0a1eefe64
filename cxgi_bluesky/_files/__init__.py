"""Read and write files: whole or not at all, strict YAML, tables of numbers, images, HDF5, locks."""
