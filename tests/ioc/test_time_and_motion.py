from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.ioc.axis import MIN_RAMP_S, Ramp
from cxgi_bluesky.simulation.ioc.clock import Clock, Stopwatch

lengths = st.floats(0.0, 100.0)


@given(lengths, st.floats(0.01, 50.0), st.just(0.0) | st.floats(MIN_RAMP_S, 5.0))
def test_a_ramp_goes_its_way_and_never_back_nor_faster_than_it_may(distance, velocity, ramp_s):
    ramp = Ramp(distance, velocity, ramp_s)
    times = np.linspace(0, ramp.seconds, 200)
    travelled = np.array([ramp.travel(t) for t in times])
    assert travelled[0] == pytest.approx(0.0, abs=1e-9)
    assert travelled[-1] == pytest.approx(distance)
    steps = np.diff(travelled)
    assert (steps >= -1e-9 * (1 + distance)).all()
    if ramp.seconds > 0:
        assert steps.max() <= velocity * times[1] * (1 + 1e-6) + 1e-9


def test_a_long_move_takes_distance_over_velocity_and_one_ramp():
    assert Ramp(10.0, 2.0, 0.5).seconds == pytest.approx(5.5)
    assert Ramp(0.0, 2.0, 0.5).seconds == 0


def test_as_fast_as_it_can_time_passes_in_exposures_alone():
    async def passed() -> list[float]:
        clock = Clock(0)
        watch = Stopwatch(clock)
        await clock.spend(2.0)
        watch.set(True)
        await clock.spend(3.0)
        await clock.wait(100.0)
        watch.set(False)
        await clock.spend(4.0)
        return [clock.now(), watch.seconds]

    assert asyncio.run(passed()) == [9.0, 3.0]


def test_a_clock_goes_on_when_its_scale_changes():
    async def steps() -> list[float]:
        clock = Clock(0)
        await clock.spend(5.0)
        clock.scale = 0.001
        await clock.spend(20.0)
        clock.scale = 0
        return [clock.now(), clock.now()]

    now, later = asyncio.run(steps())
    assert now >= 25.0
    assert later == now


def test_what_is_under_way_ends_when_time_is_let_go_and_counts_once():
    async def passed() -> float:
        clock = Clock(1000.0)
        exposures = [asyncio.create_task(clock.spend(seconds)) for seconds in (40.0, 50.0)]
        await asyncio.sleep(0.01)
        clock.scale = 0
        await asyncio.gather(*exposures)
        return clock.now()

    assert asyncio.run(passed()) == pytest.approx(50.0)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(CxgiError):
        Clock(scale)
