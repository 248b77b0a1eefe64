"""What queues read of the plans: annotations that resolve, builtin types, a line for each parameter, devices."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from bluesky import Msg
from bluesky.protocols import Movable, Readable, Triggerable
from bluesky_queueserver.manager.profile_ops import existing_plans_and_devices_from_nspace
from typing_extensions import is_protocol

from cxgi_bluesky import plans
from cxgi_bluesky.devices.simulated.beamline import KNIFE_GEOMETRY, SimulatedKnife
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import knife_edge_scan, mask_scan, reference_scan

PLANS = [getattr(plans, name) for name in plans.__all__]
NAMES = ("stage", "shutter", "diode", "object_stage")
CARRIED = (str, int, float, bool, list, dict, Literal, type(None))
OBJECTS = {
    "of": Exposures | None,
    "earlier": Exposures,
    "recorded": SpeckleSet | None,
}  # of resume_scan: a queue takes that of a session


@pytest.mark.parametrize("plan", PLANS)
def test_annotations_resolve_to_devices_and_builtins(plan):
    hints = get_type_hints(plan)
    returned = hints.pop("return")
    assert (get_origin(returned), get_args(returned)[0]) == (Generator, Msg)  # what blueapi looks for
    assert {name: p.annotation for name, p in inspect.signature(plan).parameters.items()} == hints
    for name, hint in hints.items():
        assert OBJECTS.get(name) == hint or is_carried(hint) or is_device(hint), name


def is_carried(hint: Any) -> bool:
    members = get_args(hint) if type(None) in get_args(hint) else (hint,)
    return all((get_origin(one) or one) in CARRIED for one in members)


def is_device(hint: Any) -> bool:
    """A protocol that blueapi takes for one of a device: what it finds by name is checked against it."""
    found = [one for one in (hint, *get_args(hint)) if is_protocol(one)]
    return len(found) == 1 and isinstance(found[0], Readable | Movable | Triggerable)


def test_the_devices_of_the_package_have_what_their_annotations_say(beamline):
    knife = SimulatedKnife(name="knife", axis="y", simulation=beamline.simulation)
    devices = {**dict(zip(NAMES, beamline.devices, strict=True)), "knife": knife, "camera": None}
    for plan in PLANS:
        for name, hint in get_type_hints(plan).items():
            assert devices.get(name) is None or isinstance(devices[name], hint), (plan.__name__, name)


def test_queueserver_shows_a_description_for_each_parameter(beamline):
    nspace = {plan.__name__: plan for plan in PLANS} | {"stage": beamline.stage, "diode": beamline.diode}
    described = existing_plans_and_devices_from_nspace(nspace=nspace)[0]
    assert set(described) == set(nspace) - {"stage", "diode"}
    for name, plan in described.items():
        texts = [parameter.get("description") for parameter in plan["parameters"]]
        assert None not in texts, (name, plan["parameters"])
        assert len(set(texts)) == len(texts), name


def test_a_plan_takes_its_patterns_as_the_dict_that_json_carried(RE, beamline, documents):
    words = json.loads(PatternSet(8, 5).to_json())
    RE(mask_scan(*beamline.devices[:3], pattern_set=words, exposure_s=1.0))
    RE(reference_scan(*beamline.devices[:3], pattern_set=words, exposure_s=1.0))
    assert [start["cxgi"]["pattern_set"] for start in documents.of("start")] == [words, words]
    assert {start["cxgi"]["board"]["id"] for start in documents.of("start")} == {beamline.board.name}


def test_a_knife_edge_scan_takes_its_slit_as_a_dict(RE, beamline, documents):
    knife = SimulatedKnife(name="knife", axis="y", simulation=beamline.simulation)
    words = {"start_um": -70, "stop_um": 70, "points": 9, "exposure_s": 1.0}
    RE(knife_edge_scan(knife, beamline.shutter, beamline.diode, slit=KNIFE_GEOMETRY.to_dict(), **words))
    assert documents.of("start")[0]["plan_args"]["slit"] == KNIFE_GEOMETRY.to_dict()
    with pytest.raises(CxgiError, match="source_knife_mm, knife_slit_mm and slit_um"):
        RE(knife_edge_scan(knife, beamline.shutter, beamline.diode, slit={"slit_um": 5.0}, **words))


class OwnDiode:
    name = bucket_name = "own"
    parent = trigger = None

    def read(self):
        return {"own": {"value": 1.0, "timestamp": 0.0}}

    def describe(self):
        return {"own": {"source": "", "dtype": "number", "shape": []}}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stage": "stag"}, "stage: no device is called 'stag', give the name of a TileStage"),
        ({"object_stage": 3}, "object_stage: 3 lacks 'name', 'parent', 'set', which every ObjectMover has"),
        ({"diode": OwnDiode()}, "diode: OwnDiode lacks 'exposure_s', 'trigger', which every BucketDetector has"),
        ({"pattern_set": {"basis": "speckle", "sha256": "0"}}, "lacks count"),
    ],
)
def test_what_is_no_device_or_pattern_set_is_said_before_anything_moves(RE, beamline, documents, wrong, said):
    words = dict(zip(("stage", "shutter", "diode"), beamline.devices, strict=False))
    with pytest.raises(CxgiError, match=said):
        RE(mask_scan(**{**words, "pattern_set": PatternSet(8, 5), "exposure_s": 1.0, **wrong}))
    assert not documents


@pytest.mark.parametrize(("parameter", "taken"), [("object_stage", "shutter"), ("object_stage", "diode")])
def test_a_device_cannot_be_two(RE, beamline, documents, parameter, taken):
    words = dict(zip(NAMES, beamline.devices, strict=True))
    words[parameter] = words[taken]
    with pytest.raises(CxgiError, match=f"object_stage: .*{taken}.*(is the {taken} already|lacks 'set')"):
        RE(mask_scan(**words, pattern_set=PatternSet(8, 5), exposure_s=1.0))
    assert not documents
