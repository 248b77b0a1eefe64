"""The command line: `cxgi` and its commands, one file a command."""

from .program import build_parser as build_parser
from .program import main as main
