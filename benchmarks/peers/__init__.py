"""Other packages on the same coefficients; all but `compare` and `_shared` run in an environment of their own."""
