"""What a beamline file may hold, as pydantic models; a field that is a PV has the name that its device's argument has.

Only `load.read_beamline_file` imports this: pydantic takes its time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from ...errors import ConfigError, suggest_name
from ..beamline import PROXY_ADDRESS, PV_PREFIX, ExportFormat
from ..epics.arrivals import LATE_S, MAX_LATE_S
from ..epics.diode import PA_PER_UNIT
from ..epics.diodes import CHANNELS
from ..epics.keithley import RATES
from ..epics.shutter import MAX_CLOSING_S

MAX_MOVE_S = 110.0  # plans wait 120 s


def first_error(error: ValidationError) -> ConfigError:
    """The first thing that is wrong with a beamline file, as "key value: remedy"."""
    first = error.errors()[0]
    *key, text = first["ctx"]["error"].args
    path = ".".join(map(str, [*first["loc"], *key]))
    path = re.sub(r"\.<[^>]*>", "", path)  # without pydantic's tags of unions
    return ConfigError(f"{path}{text}" if key else f"{path or 'beamline file'} {first['input']!r}: {text}")


# ---------------------------------------------------------------- values


@dataclass(frozen=True)
class Remedy:
    """What to do about a value that pydantic refuses or that is missing: a text, or what makes one of the value."""

    text: str | Callable[[Any], str]

    def to_text(self, value: Any) -> str:
        """The remedy for a value."""
        return self.text if isinstance(self.text, str) else self.text(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def _validate(self, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if any(one["loc"] for one in error.errors()):
                raise  # of a key of a block, which has a remedy of its own
            raise ValueError(self.to_text(value)) from None


def _number(bounds: str = "") -> Remedy:
    """Remedy for a number; YAML reads 1e4 as a text: it wants a point and a sign."""

    def remedy(value: Any) -> str:
        try:
            hint = f" (YAML takes {value!r} for a word: write {float(value)!r})" if isinstance(value, str) else ""
        except ValueError:
            hint = ""
        return f"give a number{bounds}{hint}"

    return Remedy(remedy)


def _whole(low: int, high: int) -> Remedy:
    return Remedy(f"give a whole number from {low} to {high}")


def _choose(*choices: Any) -> Remedy:
    return Remedy(f"choose {', '.join(map(str, choices))}")


class Pv(str):
    """Name of a PV, without the file's prefix."""


def _record(value: Any) -> str:
    is_pv = isinstance(value, str) and re.fullmatch(r"\S+", value)
    return "give the name of the record alone, without a field" if is_pv else "give the name of a PV, without blanks"


def _axis(value: Any) -> str:
    return f"{_record(value)}: a motor record; or setpoint and readback of an axis without"


def _level(value: Any) -> int | float | str:
    if isinstance(value, bool):
        raise ValueError(
            "give a number or the word of the enum in quotation marks (YAML reads On and Off as true, false)"
        )
    if not isinstance(value, int | float | str) or value == "":
        raise ValueError("give a number, or the word of the enum")
    return value


def _span(value: Any) -> tuple[float, float]:
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(one) in (int, float) for one in value)
    if not (is_pair and -math.inf < value[0] < value[1] < math.inf):
        raise ValueError("give two numbers, the lower one first, such as [-20, 20]")
    return float(value[0]), float(value[1])


def _full_scales(value: Any) -> dict[int, float]:
    good = isinstance(value, dict) and all(
        isinstance(key, int) and isinstance(scale, int | float) and 0 < scale < math.inf for key, scale in value.items()
    )
    if not (good and value):
        raise ValueError("give full scales in A by the value of the range, the smallest first, such as {1: 1.2e-7}")
    if list(value.values()) != sorted(value.values()):
        raise ValueError("give the smallest full scale first")
    return {key: float(scale) for key, scale in value.items()}


def _data(value: str) -> str:
    if "://" in value and not value.startswith(("http://", "https://")):
        raise ValueError("give the path of a folder, or the address of a Tiled server, http://host:port")
    return value


Text = Annotated[str, Field(pattern=r"\S"), Remedy("give a text")]
PvName = Annotated[str, Field(pattern=r"^\S+$"), Remedy("give the name of a PV, without blanks"), AfterValidator(Pv)]
Record = Annotated[str, Field(pattern=r"^[^\s.]+$"), Remedy(_record), AfterValidator(Pv)]
Number = Annotated[float, _number()]
Positive = Annotated[float, Field(gt=0), _number(" of more than 0")]
Seconds = Annotated[float, Field(ge=0), _number(" of at least 0")]
LateTime = Annotated[float, Field(ge=0, le=MAX_LATE_S), _number(f" of at least 0 and at most {MAX_LATE_S:g}")]
MoveTime = Annotated[float, Field(gt=0, le=MAX_MOVE_S), _number(f" of more than 0 and at most {MAX_MOVE_S:g}")]
ShutterTime = Annotated[float, Field(gt=0, le=MAX_CLOSING_S), _number(f" of more than 0 and at most {MAX_CLOSING_S:g}")]
Repeats = Annotated[int, Field(ge=0, le=10), _whole(0, 10)]
Unit = Annotated[Literal["A", "mA", "uA", "nA", "pA", "fA"], _choose(*PA_PER_UNIT)]
Level = Annotated[int | float | str, PlainValidator(_level, json_schema_input_type=int | float | str)]
Span = Annotated[tuple[float, float], PlainValidator(_span, json_schema_input_type=tuple[float, float])]
FullScales = Annotated[dict[int, float], PlainValidator(_full_scales, json_schema_input_type=dict[int, float])]


# ---------------------------------------------------------------- blocks


OWN = "<own>"  # tag of a block with a class of the user's


def _tag(other: str) -> Discriminator:
    """Whether a block names a class of the user's, or is the other one."""
    return Discriminator(lambda value: OWN if isinstance(value, dict) and "class" in value else other)


class Block(BaseModel):
    """A block of keys; a key that may be left out may also be empty."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: Any) -> Any:
        """Raise ValueError(key, text) for the first key that is unknown or missing."""
        fields = _fields_of(cls)
        if not isinstance(given, dict):
            raise ValueError(_keys_of(cls))
        for key, value in given.items():
            if key not in fields:
                likely = suggest_name(str(key), fields, f"it may have {', '.join(fields)}")
                raise ValueError(key, f" {value!r}: unknown key, {likely}")
        for key, field in fields.items():
            if field.is_required() and key not in given:
                raise ValueError(key, f" is missing: {_remedy_if_missing(field)}")
        return {key: value for key, value in given.items() if value is not None or fields[key].is_required()}


def _fields_of(block: Any) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in block.model_fields.items()}


def _keys_of(block: Any) -> str:
    return f"give keys with values: {', '.join(_fields_of(block))}"


def _remedy_if_missing(field: FieldInfo) -> str:
    remedies = [rule.to_text(None) for rule in field.metadata if isinstance(rule, Remedy)]
    return remedies[0] if remedies else _keys_of(field.annotation)


class TimeoutsBlock(Block):
    """Longest waits."""

    connection_s: Positive = 5.0
    read_s: Positive = 3.0
    write_s: Positive = 10.0


class LimitsBlock(Block):
    """Limits of both axes of the stage."""

    x: Span | None = None
    y: Span | None = None


class OwnBlock(Block):
    """A device of a class of the user's."""

    path: Annotated[
        str,
        Field(alias="class", pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)+$"),
        Remedy("give the dotted path of a class, such as my_devices.MyDiode"),
    ]
    options: Annotated[dict[str, Any], Remedy("give keyword arguments with values")] = {}


class PositionerBlock(Block):
    """PVs of an axis without a motor record."""

    setpoint: PvName
    readback: PvName
    stop: PvName | None = None


def _axis_tag(value: Any) -> str:
    if not isinstance(value, dict):
        return "<record>"
    return OWN if "class" in value else "<positioner>"


Axis = Annotated[
    Annotated[str, Field(pattern=r"^[^\s.]+$"), Remedy(_axis), AfterValidator(Pv), Tag("<record>")]
    | Annotated[PositionerBlock, Tag("<positioner>")]
    | Annotated[OwnBlock, Tag(OWN)],
    Discriminator(_axis_tag),
    Remedy(_axis),
]


class StageBlock(Block):
    """The mask stage."""

    x: Axis
    y: Axis
    limits_mm: LimitsBlock = LimitsBlock()
    in_position_um: Positive | None = None
    settle_s: Seconds = 0.0
    move_timeout_s: MoveTime = 60.0
    velocity_mm_s: Positive | None = None

    @model_validator(mode="after")
    def _check_axes(self) -> StageBlock:
        if type(self.x) is not type(self.y):
            raise ValueError(
                "x and stage.y", ": give two motor records, setpoint and readback of both, or classes of both"
            )
        if self.velocity_mm_s is not None and not isinstance(self.x, Pv):
            text = f" {self.velocity_mm_s:g}: axes without a motor record have no velocity, leave it out"
            raise ValueError("velocity_mm_s", text)
        return self


Stage = Annotated[
    Annotated[StageBlock, Tag("<axes>")] | Annotated[OwnBlock, Tag(OWN)],
    _tag("<axes>"),
    Remedy(lambda _: _keys_of(StageBlock)),
]


class BarrierBlock(Block):
    """The backup shutter."""

    command: PvName
    readback: PvName
    close_value: Level = 0
    closed_value: Level = 0
    closing_s: ShutterTime = 3.0


class ShutterBlock(Block):
    """The shutter."""

    readback: PvName
    command: PvName | None = None
    open_pulse: PvName | None = None
    close_pulse: PvName | None = None
    open_value: Level = 1
    close_value: Level = 0
    pulse_value: Level = 1
    opened_value: Level = 1
    closed_value: Level = 0
    permit: PvName | None = None
    permit_value: Level = 1
    max_open: PvName | None = None
    max_open_s: Positive | None = None
    reset: PvName | None = None
    opening_s: ShutterTime = 3.0
    closing_s: ShutterTime = 3.0
    settle_s: Seconds = 0.0
    second_barrier: BarrierBlock | None = None

    @model_validator(mode="after")
    def _check_together(self) -> ShutterBlock:
        if (self.command is not None) == (self.open_pulse is not None and self.close_pulse is not None):
            text = ": a shutter has either a command PV or both open_pulse and close_pulse: give one of the two"
            raise ValueError("command", text)
        if self.second_barrier and (closing_s := self.closing_s + self.second_barrier.closing_s) > MAX_CLOSING_S:
            text = f" of shutter and barrier {closing_s:g} s: give at most {MAX_CLOSING_S:g}, plans wait 10 s"
            raise ValueError("closing_s", text)
        if self.opened_value == self.closed_value:
            raise ValueError("opened_value", _same(self.opened_value, "closed_value"))
        if self.open_value == self.close_value and self.command is not None:
            raise ValueError("open_value", _same(self.open_value, "close_value"))
        if self.max_open_s is not None and self.max_open is None:
            text = f" {self.max_open_s:g}: give max_open, the PV of the IOC's timer that enforces it"
            raise ValueError("max_open_s", text)
        for key in ("command", "readback"):
            if self.second_barrier and (pv := getattr(self.second_barrier, key)) == getattr(self, key):
                text = f" {pv!r}: it is the shutter's own, give what stops the beam when the shutter does not"
                raise ValueError(f"second_barrier.{key}", text)
        return self


Shutter = Annotated[
    Annotated[ShutterBlock, Tag("<pvs>")] | Annotated[OwnBlock, Tag(OWN)],
    _tag("<pvs>"),
    Remedy(lambda _: _keys_of(ShutterBlock)),
]


def _same(value: Any, other: str) -> str:
    return f" {value!r}: {other} is the same, one of the two is wrong"


class KeithleyBlock(Block):
    """Keithley 6485, 6487."""

    kind: Literal["keithley"] = Field(alias="class")
    prefix: PvName = Field(alias="pvs")
    rate: Annotated[Literal["slow", "medium", "fast"], _choose(*RATES)] = "slow"
    start_range: Annotated[int, Field(ge=0, le=7), _whole(0, 7)] | None = None
    line_hz: Annotated[int, Field(ge=50, le=60, multiple_of=10), _choose(50, 60)] = 50
    unit: Unit = "A"
    max_repeats: Repeats = 2
    range_settle_s: Seconds = 0.1
    late_s: LateTime = LATE_S


class QuadEMBlock(Block):
    """TetrAMM and other quadEM."""

    kind: Literal["quadem"] = Field(alias="class")
    prefix: PvName = Field(alias="pvs")
    channel: Annotated[int, Field(ge=1, le=4), _whole(1, 4)] = 1
    unit: Unit = "A"
    full_scale_a: FullScales | None = None
    max_repeats: Repeats = 2
    range_settle_s: Seconds = 0.1
    late_s: LateTime = LATE_S


class ScalerBlock(Block):
    """Scaler record."""

    kind: Literal["scaler"] = Field(alias="class")
    scaler: Record = Field(alias="record")
    channel: Annotated[int, Field(ge=2, le=CHANNELS), _whole(2, CHANNELS)] = 2
    counts_per_pa_s: Positive
    counting: Annotated[bool, Remedy("give true or false")] = False
    late_s: LateTime = LATE_S


class GenericBlock(Block):
    """One PV to acquire and one of the value."""

    kind: Literal["generic"] = Field(alias="class")
    acquire: PvName
    value: PvName
    spread: PvName | None = None
    exposure: PvName | None = None
    overload: PvName | None = None
    acquire_value: Annotated[int, Field(ge=-32768, le=32767), _whole(-32768, 32767)] = 1
    unit: Unit = "pA"
    late_s: LateTime = LATE_S


def _class(value: Any) -> str:
    kind = value.get("class") if isinstance(value, dict) else None
    return f"its class must be one of keithley, quadem, scaler, generic, or the dotted path of a class, and is {kind!r}"


def _diode_tag(value: Any) -> str | None:
    kind = value.get("class") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        return None
    return OWN if "." in kind else f"<{kind}>"


Diode = Annotated[
    Annotated[KeithleyBlock, Tag("<keithley>")]
    | Annotated[QuadEMBlock, Tag("<quadem>")]
    | Annotated[ScalerBlock, Tag("<scaler>")]
    | Annotated[GenericBlock, Tag("<generic>")]
    | Annotated[OwnBlock, Tag(OWN)],
    Discriminator(_diode_tag),
    Remedy(_class),
]


class MonitorBlock(Block):
    """The incident intensity."""

    value: PvName
    unit: Unit = "pA"


class ObjectStageBlock(Block):
    """What moves the object."""

    motor: Record
    in_mm: Number
    out_mm: Number
    in_position_um: Positive = 10.0
    settle_s: Seconds = 0.0
    move_timeout_s: MoveTime = 60.0
    limits_mm: Span | None = None

    @model_validator(mode="after")
    def _check_places(self) -> ObjectStageBlock:
        if abs(self.in_mm - self.out_mm) * 1000 <= 2 * self.in_position_um:
            text = (
                f" {self.in_mm:g} and out_mm {self.out_mm:g} are within {self.in_position_um:g} um: "
                "give two different places"
            )
            raise ValueError("in_mm", text)
        return self


ObjectStage = Annotated[
    Annotated[ObjectStageBlock, Tag("<motor>")] | Annotated[OwnBlock, Tag(OWN)],
    _tag("<motor>"),
    Remedy(lambda _: _keys_of(ObjectStageBlock)),
]


class KnifeBlock(Block):
    """The knife."""

    motor: Record
    axis: Annotated[Literal["x", "y"], _choose("x", "y")]
    in_position_um: Positive = 1.0
    settle_s: Seconds = 0.0
    move_timeout_s: MoveTime = 60.0
    limits_mm: Span | None = None


Knife = Annotated[
    Annotated[KnifeBlock, Tag("<motor>")] | Annotated[OwnBlock, Tag(OWN)],
    _tag("<motor>"),
    Remedy(lambda _: _keys_of(KnifeBlock)),
]


class SourceBlock(Block):
    """The source of the beam."""

    ready: PvName | None = None
    ready_value: Annotated[int, Field(ge=0, le=1), _choose(0, 1)] = 1
    current: PvName | None = None
    at_least_ma: Positive | None = None
    wait_s: Seconds = 5.0

    @model_validator(mode="after")
    def _check_together(self) -> SourceBlock:
        if self.ready is None and self.current is None:
            raise ValueError("ready", ": a source needs ready, current or both: give a PV, or leave the source out")
        if (self.current is None) != (self.at_least_ma is None):
            raise ValueError("current", ": current and at_least_ma of a source belong together: give both or neither")
        return self


class BeamlineConfig(Block):
    """A beamline file."""

    version: Annotated[int, Field(ge=1, le=1), _choose(1)]
    name: Text
    prefix: Annotated[str, Field(pattern=r"^\S*$"), Remedy("give the name of a PV, without blanks")] = ""
    board: Text
    data: Annotated[Text, AfterValidator(_data)] | None = None
    export: Annotated[ExportFormat, _choose(*get_args(ExportFormat))] | None = None
    publish: Annotated[str, Field(pattern=PROXY_ADDRESS), Remedy("give HOST:PORT of a 0MQ proxy")] | None = None
    pva: Annotated[str, Field(pattern=PV_PREFIX), Remedy("give a prefix of PVs, such as CXGI:")] | None = None
    timeouts: TimeoutsBlock = TimeoutsBlock()
    stage: Stage
    shutter: Shutter
    diode: Diode
    monitor: MonitorBlock | None = None
    object_stage: ObjectStage | None = None
    knife: Knife | None = None
    source: SourceBlock | None = None

    @model_validator(mode="after")
    def _check_axes(self) -> BeamlineConfig:
        """No two axes may be driven by the same PV, and a monitor belongs to a diode over EPICS."""
        if self.monitor is not None and isinstance(self.diode, OwnBlock):
            raise ValueError("monitor", ": a diode with a class of its own reads it too (its i0_name), leave it out")
        axes: dict[str, Any] = {}
        if isinstance(self.stage, StageBlock):
            axes = {"stage.x": self.stage.x, "stage.y": self.stage.y}
        for name in ("object_stage", "knife"):
            if isinstance(block := getattr(self, name), ObjectStageBlock | KnifeBlock):
                axes[f"{name}.motor"] = block.motor
        driven: dict[str, str] = {}
        for path, axis in axes.items():
            if isinstance(axis, OwnBlock):
                continue
            pv = axis.setpoint if isinstance(axis, PositionerBlock) else axis
            if pv in driven:
                raise ValueError(path, f" {pv!r}: {driven[pv]} is the same, give each axis a PV of its own")
            driven[pv] = path
        return self
