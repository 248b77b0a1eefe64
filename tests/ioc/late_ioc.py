"""An IOC whose readings come later than the put to ACQUIRE completes, by what a test says; run with prefix and port.

VALUE is 1000 + the number of the acquisition, SPREAD that number, I0 2000 + it: a stale one is seen. Each has a PV,
such as VALUE:LATE_S. With STAMPS 0 no record has a time stamp, with SAME 1 all numbers stay as they are. FORGET takes
back what is still to come.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, ClassVar

from caproto import ChannelType
from caproto.asyncio.server import start_server
from caproto.server import PVGroup, pvproperty

WHAT = {"VALUE": lambda n: 1000.0 + n, "SPREAD": float, "I0": lambda n: 2000.0 + n}
NO_STAMP = 631152000.0  # EPICS' own zero


class LateBench(PVGroup):
    """Two axes, a shutter whose readback is a text, and the detector."""

    x = pvproperty(value=0.0, name="X", units="mm", precision=4)
    y = pvproperty(value=0.0, name="Y", units="mm", precision=4)
    x_rbv = pvproperty(value=0.0, name="X:RBV", units="mm", precision=4)
    y_rbv = pvproperty(value=0.0, name="Y:RBV", units="mm", precision=4)
    command = pvproperty(value=0, name="CMD")
    status = pvproperty(value="Closed", name="STATUS", dtype=ChannelType.STRING)
    acquire = pvproperty(value=0, name="ACQUIRE")
    stamps = pvproperty(value=1, name="STAMPS")
    same = pvproperty(value=0, name="SAME")
    number = pvproperty(value=0, name="NUMBER")
    forget = pvproperty(value=0, name="FORGET")
    to_come: ClassVar[set[asyncio.Task[None]]] = set()
    for word in WHAT:
        locals()[word] = pvproperty(value=0.0, name=word, units="pA")
        locals()[f"{word}_late_s"] = pvproperty(value=0.0, name=f"{word}:LATE_S")

    @x.putter
    async def x(self, instance: Any, value: float) -> None:
        await self.x_rbv.write(value)

    @y.putter
    async def y(self, instance: Any, value: float) -> None:
        await self.y_rbv.write(value)

    @command.putter
    async def command(self, instance: Any, value: int) -> None:
        await self.status.write("Open" if value else "Closed")

    @stamps.putter
    async def stamps(self, instance: Any, value: int) -> None:
        for word in WHAT:
            await self._write(word, 0, stamped=bool(value))

    @acquire.putter
    async def acquire(self, instance: Any, value: int) -> None:
        await self.number.write(self.number.value + 1)
        for word in WHAT:
            write = self._write(word, self.number.value, stamped=bool(self.stamps.value))
            late_s = self.attr_pvdb[f"{word}_late_s"].value
            if late_s:
                task = asyncio.get_running_loop().create_task(_after(late_s, write))
                self.to_come.add(task)
                task.add_done_callback(self.to_come.discard)
            else:
                await write

    @forget.putter
    async def forget(self, instance: Any, value: int) -> None:
        for task in list(self.to_come):
            task.cancel()

    async def _write(self, word: str, number: int, *, stamped: bool) -> None:
        value = WHAT[word](0 if self.same.value else number)
        await self.attr_pvdb[word].write(value, **({} if stamped else {"timestamp": NO_STAMP}))


async def _after(seconds: float, write: Any) -> None:
    await asyncio.sleep(seconds)
    await write


if __name__ == "__main__":
    os.environ["EPICS_CA_SERVER_PORT"] = os.environ["EPICS_CAS_SERVER_PORT"] = sys.argv[2]

    async def say_ready(_: Any) -> None:
        print("READY", flush=True)

    asyncio.run(start_server(LateBench(sys.argv[1]).pvdb, interfaces=["127.0.0.1"], startup_hook=say_ready))
