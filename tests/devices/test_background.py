"""Actions in the background end their statuses, whatever they do."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from ophyd.status import Status
from ophyd.utils import StatusTimeoutError, WaitTimeoutError

from cxgi_bluesky.devices.status import fail, finish, in_background
from tests.patience import PATIENCE_S

DEVICE = SimpleNamespace(name="stage")


def test_the_status_ends_with_the_action():
    go = threading.Event()
    status = in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), PATIENCE_S)
    assert not status.done
    go.set()
    status.wait(timeout=PATIENCE_S)
    assert status.success


def test_what_the_action_raises_is_the_error_of_the_status():
    def lose_steps():
        raise ValueError("lost steps")

    assert str(in_background(DEVICE, lose_steps, PATIENCE_S).exception(timeout=PATIENCE_S)) == "lost steps"


def test_an_action_that_hangs_ends_its_status_and_no_other():
    go = threading.Event()
    patient = in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), PATIENCE_S)
    hanging = in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), 0.1)
    error = hanging.exception(timeout=PATIENCE_S)
    assert type(error) is TimeoutError
    assert str(error) == "stage: no end within 0.1 s"
    assert not patient.done
    go.set()
    patient.wait(timeout=PATIENCE_S)
    assert hanging.exception(timeout=0) is error, "its late end changes nothing"


@pytest.mark.parametrize("refused", [StatusTimeoutError, WaitTimeoutError])
def test_a_time_out_of_another_status_is_the_error_too(refused):
    def ask_in_vain():
        raise refused("the electrometer has not finished")

    error = in_background(DEVICE, ask_in_vain, PATIENCE_S).exception(timeout=PATIENCE_S)
    assert (type(error), str(error)) == (TimeoutError, "the electrometer has not finished")


def test_a_slow_callback_keeps_no_other_status_from_its_end():
    go = threading.Event()
    first, second = (in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), limit) for limit in (0.1, 0.2))
    first.add_callback(lambda _: go.wait(timeout=PATIENCE_S))
    assert type(second.exception(timeout=PATIENCE_S)) is TimeoutError
    go.set()


def test_the_longest_time_out_ends_no_watch():
    go = threading.Event()
    in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), 1e12)
    second = in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), 0.1)
    assert type(second.exception(timeout=PATIENCE_S)) is TimeoutError
    go.set()


def test_a_callback_that_raises_does_not_end_the_thread_of_later_actions():
    def burst(_):
        raise RuntimeError("burst")

    go = threading.Event()
    status = in_background(DEVICE, lambda: go.wait(timeout=PATIENCE_S), PATIENCE_S)
    status.add_callback(burst)
    go.set()
    status.wait(timeout=PATIENCE_S)
    in_background(DEVICE, lambda: None, PATIENCE_S).wait(timeout=PATIENCE_S)


def test_threads_are_used_again():
    for _ in range(3):
        in_background(DEVICE, lambda: None, PATIENCE_S).wait(timeout=PATIENCE_S)
    before = threading.active_count()
    for _ in range(50):
        in_background(DEVICE, lambda: None, PATIENCE_S).wait(timeout=PATIENCE_S)
    assert threading.active_count() <= before + 2


def test_actions_do_not_wait_for_one_another():
    together = threading.Barrier(8)
    statuses = [in_background(DEVICE, lambda: together.wait(timeout=PATIENCE_S), PATIENCE_S) for _ in range(8)]
    for status in statuses:
        status.wait(timeout=PATIENCE_S)


def test_a_status_ends_once():
    status = Status(obj=DEVICE)
    finish(status)
    fail(status, ValueError("late"))
    assert status.success
    failed = Status(obj=DEVICE)
    fail(failed, ValueError("early"))
    finish(failed)
    with pytest.raises(ValueError, match="early"):
        failed.wait(timeout=PATIENCE_S)
