"""Signals while the main thread waits for a plan."""

from __future__ import annotations

import os
import signal

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky import session
from cxgi_bluesky.session.run_engine import WaitInSteps

STEPS = 300


@pytest.fixture
def main_thread_gets_no_signals():
    """As the system may choose: signals of the process go to another of its threads."""
    number = {signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, number)
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, number)


def interrupt(done: list[int]):
    for step in range(STEPS):
        yield from bps.checkpoint()
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        yield from bps.sleep(0.05)
        done.append(step)


def test_ctrl_c_pauses_whichever_thread_the_system_gives_it_to(main_thread_gets_no_signals):
    engine, done = RunEngine({}, during_task=WaitInSteps()), []
    with pytest.raises(RunEngineInterrupted):
        engine(interrupt(done))
    assert len(done) < STEPS
    engine.abort()


def test_a_session_waits_so(tmp_path):
    s = session.start(data=tmp_path, live=False, progress=False)
    assert isinstance(s.RE._during_task, WaitInSteps)
