"""The block ``cxgi`` of a start document (event schema 1): written by the plans, read by everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import MeasurementError
from .documents import cxgi_block

SCHEMA = 1


class BoardMetadata(BaseModel):
    """What a run records of the board on its stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    sha256: str
    pixel_um: float | None = None
    metal: str | None = None
    d_r: float | None = None
    mirrored: bool = False


class RunMetadata(BaseModel):
    """What a run records of itself.

    Attributes
    ----------
    schema_version : int
        Stored as ``schema``.
    purpose : str
        What the run is for: "image", "reference", "dark", "metal", "alignment", "knife_edge" or "speckles".
    mode : str
        "step": the stage rests during an exposure.
    exposure_s : float, optional
        Exposure time (s).
    fields : dict of str to str or None
        Data keys by what they hold: ``bucket``, ``sigma``, ``i0``, ``pattern_index``; None where there is none.
    bucket_unit : str, optional
        "pA", a mean over the exposure, or "counts", a sum over it.
    board : BoardMetadata, optional
    pattern_set : dict, optional
        From which the pattern set is rebuilt (`hadamard_set`, `SpeckleSet.to_dict`).
    validation : dict, optional
        Validation patterns and the probabilities with which they were drawn (`ValidationDraws`).
    reference_uid, dark_uid, resumes : str, optional
        Uids of the runs that belong to this one.
    alignment, knife_edge : dict, optional
        Board of an alignment; axis and geometry of a knife-edge scan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(SCHEMA, alias="schema")
    purpose: str = "image"
    mode: str = "step"
    exposure_s: float | None = None
    fields: dict[str, str | None] = {}
    bucket_unit: str | None = None
    reference_uid: str | None = None
    dark_uid: str | None = None
    resumes: str | None = None
    board: BoardMetadata | None = None
    pattern_set: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    alignment: dict[str, Any] | None = None
    knife_edge: dict[str, Any] | None = None

    @classmethod
    def from_start(cls, start: Mapping[str, Any]) -> RunMetadata:
        """Read the block of a start document; keys that this release does not know are left out.

        Raises
        ------
        CxgiError
            If there is none, it is of another schema, or a value is malformed.
        """
        block, uid = cxgi_block(start), start.get("uid")
        if block.get("schema") != SCHEMA:
            raise MeasurementError(f"run {uid} has event schema {block.get('schema')!r}, this release reads {SCHEMA}")
        names = {field.alias or name for name, field in cls.model_fields.items()}
        try:
            return cls(**{name: value for name, value in block.items() if name in names})
        except ValidationError as error:
            raise MeasurementError(f"run {uid} is malformed: {_first_problem(error)}") from error

    @property
    def data_keys(self) -> dict[str, str]:
        """Data keys of an event by what they hold, those that there are."""
        return {name: key for name, key in self.fields.items() if key is not None}

    @property
    def basis(self) -> str:
        """Kind of the patterns: "hadamard" or "speckle"."""
        return str((self.pattern_set or {}).get("basis", "hadamard"))

    def to_dict(self) -> dict[str, Any]:
        """The block as it is stored: what was given, by its stored names."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(map(str, ("cxgi", *problem["loc"])))
    kind = "is no mapping" if problem["type"] in ("dict_type", "model_type") else f"is wrong ({problem['msg']})"
    return f"{name} of its start document {kind}"
