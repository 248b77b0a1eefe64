"""CH-MWCNN: a compressed Hadamard set inside a multi-level wavelet CNN."""
