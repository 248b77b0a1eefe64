"""A bare IOC of EPICS base (softioc) with the PVs of a beamline and nothing behind them: what the client costs alone.

Run by `exposure_overhead.py` in the peers' environment; prints READY and serves until it is ended.
"""

from __future__ import annotations

import sys

from softioc import asyncio_dispatcher, builder, softioc

dispatcher = asyncio_dispatcher.AsyncioDispatcher()
builder.SetDeviceName("BARE")
readbacks = {axis: builder.aIn(f"{axis}:RBV", initial_value=0.0, EGU="mm") for axis in "XY"}
setpoints = {
    axis: builder.aOut(
        f"{axis}:SET",
        initial_value=0.0,
        always_update=True,
        blocking=True,
        EGU="mm",
        on_update=readbacks[axis].set,
    )
    for axis in "XY"
}
status = builder.mbbIn("SHUTTER:STATUS", "Closed", "Open", initial_value=0)
command = builder.boolOut(
    "SHUTTER:CMD", "Close", "Open", initial_value=0, always_update=True, blocking=True, on_update=status.set
)
permit = builder.boolIn("SHUTTER:PERMIT", "Denied", "Granted", initial_value=1)
value = builder.aIn("VALUE", initial_value=15.0, EGU="pA")
spread = builder.aIn("SPREAD", initial_value=0.1, EGU="pA")
acquire = builder.boolOut("ACQUIRE", always_update=True, blocking=True, on_update=lambda _: value.set(15.0))
exposure = builder.aOut("EXPOSURE_S", initial_value=1.0, EGU="s")
builder.LoadDatabase()
softioc.iocInit(dispatcher)
print("READY", flush=True)
sys.stdin.read()
