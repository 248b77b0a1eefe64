"""Check by the records' own time stamps that what is read after a trigger is of that exposure."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from .signals import read_together

logger = logging.getLogger(__name__)

LATE_S = 1.0
MAX_LATE_S = 5.0  # plans wait 30 s longer than the exposure, for this and for all else that may hang
STRAGGLER_S = 10.0  # for a value that came too late: after that it is taken to be lost
EPICS_EPOCH_S = 631152000.0  # the stamp of a record that was never stamped
_POLL_S = 0.003


class LateError(RuntimeError):
    """A value has not come in time: the exposure has failed."""


def is_stamp(stamp: float) -> bool:
    """Whether it is a time at all."""
    return stamp > EPICS_EPOCH_S


class Arrivals:
    """Values of one exposure: each record must have been stamped anew since just before the trigger.

    The end of a put is no sign of a value that something else works out, such as a statistics plugin. Stamps of a
    record are compared with earlier ones of the same record, never with a clock, and asked for: a value that is the
    same again posts no monitor.

    Parameters
    ----------
    name : str
        Of the detector, for messages.
    late_s : float
        Longest wait for the values after the end of the acquisition.

    Attributes
    ----------
    waited_s : how long the last values were waited for (s); 0: they were there.
    without_stamps : names of the PVs that were found to have no time stamps.
    """

    def __init__(self, name: str, late_s: float) -> None:
        self.name, self.late_s = name, late_s
        self.waited_s = 0.0
        self._without: set[Any] = set()
        self._before: dict[Any, float] = {}
        self._taken: dict[Any, float] = {}
        self._owed: dict[Any, float] = {}

    @property
    def without_stamps(self) -> list[str]:
        """Names of the PVs that were found to have no time stamps."""
        return sorted(signal.pvname for signal in self._without)

    def forget(self) -> None:
        """Know nothing of the records, as when a plan begins."""
        self._without, self._taken = set(), {}

    def note(self, signals: Sequence[Any], followers: Sequence[Any] = ()) -> None:
        """Note the stamps just before a trigger.

        Parameters
        ----------
        signals : sequence
        followers : sequence
            What is published with the first of `signals`. As long as that was not updated by itself they were not
            either, and two or three requests are saved.
        """
        before = self._stamps(signals)
        if followers:
            leader = signals[0]
            quiet = leader in self._taken and before[leader] == self._taken[leader]
            known = quiet and all(signal in self._taken for signal in followers)
            before |= {s: self._taken[s] for s in followers} if known else self._stamps(followers)
        self._before, self.waited_s = before, 0.0

    def take(self, *signals: Any) -> list[Any]:
        """Values of the exposure that has just ended.

        Raises
        ------
        LateError
            Naming the PVs whose values have not come within `late_s`.
        """
        begun = time.monotonic()
        answers: dict[Any, tuple[Any, float]] = {}
        missing = list(signals)
        while True:
            answers |= dict(zip(missing, read_together(*missing), strict=True))
            missing = [s for s in missing if s not in self._without and answers[s][1] == self._before[s]]
            if not missing:
                break
            if time.monotonic() - begun >= self.late_s:
                self._give_up(missing)
                break
            time.sleep(_POLL_S)
            self.waited_s = max(self.waited_s, time.monotonic() - begun)
        stamps = {signal: stamp for signal, (_, stamp) in answers.items()}
        self._taken |= stamps
        self._before |= stamps  # of the next reading, where an exposure has several
        return [answers[signal][0] for signal in signals]

    def _give_up(self, missing: Sequence[Any]) -> None:
        """Raise `LateError`, unless what is missing has no stamps at all."""
        unstamped = [signal for signal in missing if not is_stamp(self._before[signal])]
        if unstamped:
            self._without |= set(unstamped)
            logger.warning(
                "%s: no time stamps from %s: it cannot be told whether a value is of its own exposure; see TSE of the "
                "record and its driver",
                self.name,
                ", ".join(signal.pvname for signal in unstamped),
            )
        if late := [signal for signal in missing if signal not in self._without]:
            self._owed = {signal: self._before[signal] for signal in late}
            self._taken = {}
            names = ", ".join(signal.pvname for signal in late)
            raise LateError(f"{names} not updated within late_s {self.late_s:g} s after the exposure")

    def settle(self) -> None:
        """Wait for values that came too late for their exposure: they would be taken for those of the next one.

        What has not come within `STRAGGLER_S` is taken to be lost.
        """
        deadline = time.monotonic() + STRAGGLER_S
        while self._owed and time.monotonic() < deadline:
            now = self._stamps(list(self._owed))
            self._owed = {signal: before for signal, before in self._owed.items() if now[signal] == before}
            time.sleep(_POLL_S)
        self._owed = {}

    @staticmethod
    def _stamps(signals: Sequence[Any]) -> dict[Any, float]:
        return {s: stamp for s, (_, stamp) in zip(signals, read_together(*signals), strict=True)}
