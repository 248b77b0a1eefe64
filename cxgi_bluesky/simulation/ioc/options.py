"""What an IOC serves and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ...errors import ConfigError
from ...masks.board import Alignment


@dataclass(frozen=True, kw_only=True)
class IocOptions:
    """Options of an IOC.

    Attributes
    ----------
    board : str
        Name or file of the board on the stage.
    object_name : str
        Object in the beam, as in `render_object`.
    prefix : str
        Of all PVs.
    host : str
        Address to listen at.
    port : int
        UDP and TCP port; 0 = a free one.
    time_scale : float
        Real seconds per simulated second; 0 = as fast as it can.
    seed : int
        Of all noise.
    max_open_s : float
        The shutter closes by itself after so many real seconds; 0 = never.
    end_with_parent : bool
        Whether to end when the process that started it has ended.
    etched : bool
        Whether the board has the errors of its etching.
    open_pa, dark_pa, electrometer_fa, stage_rms_um, drift_rms : float, optional
        Current with everything open, dark current, noise of a reading of 1 s, error of a stage move, drift of the
        source; by default those of the board's simulation.
    source_ma : float
        Current of the source when it is on.
    source_lifetime_h : float
        It decays with this lifetime; 0 = constant.
    tetramm_late_s : float
        The TetrAMM's statistics come so many real seconds after its Acquire has ended, as behind plugins that are not
        waited for.
    true_alignment : Alignment, optional
        How the board really lies on the stage; by default as its file has it.

    Raises
    ------
    CxgiError
        For an impossible value.
    """

    board: str = "au64"
    object_name: str = "gold"
    prefix: str = "CXGI:"
    host: str = "127.0.0.1"
    port: int = 0
    time_scale: float = 1.0
    seed: int = 0
    max_open_s: float = 0.0
    end_with_parent: bool = False
    etched: bool = False
    open_pa: float | None = None
    dark_pa: float | None = None
    electrometer_fa: float | None = None
    stage_rms_um: float | None = None
    drift_rms: float | None = None
    source_ma: float = 100.0
    source_lifetime_h: float = 0.0
    tetramm_late_s: float = 0.0
    true_alignment: Alignment | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{entry.name} {value} of the IOC must be a number, 0 or more")
        if not (self.source_ma > 0 and self.open_pa != 0):
            raise ConfigError("source_ma and open_pa of the IOC must be positive")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port {self.port} is outside 0..65535: 0 takes a free one")
        if not self.prefix or any(letter.isspace() for letter in self.prefix):
            raise ConfigError(f"prefix {self.prefix!r}: give one without spaces, such as CXGI:")
