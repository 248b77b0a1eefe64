"""Training of CH-MWCNN: random objects behind drawn boards, measured with noise, at every fraction and order."""
