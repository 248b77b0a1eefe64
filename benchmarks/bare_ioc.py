"""A bare IOC: records of EPICS base with the PVs of a beamline and nothing behind them, so that the client costs alone.

Run by `exposure_overhead.py` in the peers' environment (softioc); prints READY and serves until it is ended.
"""

from __future__ import annotations

import sys
import tempfile

from softioc import asyncio_dispatcher, softioc

RECORDS = """
record(ao, "BARE:X:SET") { field(EGU, "mm") field(FLNK, "BARE:X:RBV") }
record(ai, "BARE:X:RBV") { field(EGU, "mm") field(INP, "BARE:X:SET") }
record(ao, "BARE:Y:SET") { field(EGU, "mm") field(FLNK, "BARE:Y:RBV") }
record(ai, "BARE:Y:RBV") { field(EGU, "mm") field(INP, "BARE:Y:SET") }
record(bo, "BARE:SHUTTER:CMD") { field(ZNAM, "Close") field(ONAM, "Open") field(FLNK, "BARE:SHUTTER:STATUS") }
record(bi, "BARE:SHUTTER:STATUS") { field(ZNAM, "Closed") field(ONAM, "Open") field(INP, "BARE:SHUTTER:CMD") }
record(bi, "BARE:SHUTTER:PERMIT") { field(ZNAM, "Denied") field(ONAM, "Granted") field(VAL, "1") field(PINI, "YES") }
record(bo, "BARE:ACQUIRE") { field(FLNK, "BARE:VALUE") }
record(ai, "BARE:VALUE") { field(EGU, "pA") field(INP, "15") field(PINI, "YES") field(FLNK, "BARE:SPREAD") }
record(ai, "BARE:SPREAD") { field(EGU, "pA") field(INP, "0.1") field(PINI, "YES") }
record(ao, "BARE:EXPOSURE_S") { field(EGU, "s") }
"""

with tempfile.NamedTemporaryFile("w", suffix=".db") as database:
    database.write(RECORDS)
    database.flush()
    softioc.dbLoadDatabase(database.name)
softioc.iocInit(asyncio_dispatcher.AsyncioDispatcher())
print("READY", flush=True)
sys.stdin.read()
