"""Objects in the beam: those of the paper, a bar pattern, images of the user."""
