"""Objects in the beam: those of the paper, a bar pattern, images of the user."""

from .registry import OBJECTS as OBJECTS
from .registry import check_object as check_object
from .registry import render_object as render_object
