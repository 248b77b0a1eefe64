"""One start-up for IPython, queue and command line: RunEngine, catalog, devices, live images.

::

    from cxgi_bluesky import session
    s = session.start(sim=True)
    s.RE(s.plans.hadamard_scan(*s.devices, board=s.board, pattern_set=s.pattern_set(0.1875), exposure_s=1.0))
    s.reconstruct()

Importing this starts nothing; `start` does. ``session.furnish_console(s)``, in IPython or a file of its profile, adds
what ``cxgi session`` has: names to type, ``%cxgi``, tables, a baseline, a log file.
"""

from .console import furnish_console as furnish_console
from .session import Session as Session
from .start_up import start as start
