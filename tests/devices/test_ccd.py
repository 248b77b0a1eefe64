from __future__ import annotations

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from ophyd import Component, Device, Signal
from ophyd.status import Status
from tqdm import tqdm

from cxgi_bluesky.callbacks.progress import ScanProgress
from cxgi_bluesky.devices.area_detector import AreaDetectorDiode
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.devices.simulated.ccd import SimulatedCam, SimulatedCCD, SimulatedStats
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import hadamard_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.base import Detector
from cxgi_bluesky.simulation.beamline import SimulationParameters
from cxgi_bluesky.simulation.camera import Camera
from tests.conftest import QUIET, small_board
from tests.patience import PATIENCE_S, eventually

LARGE_PIXELS = Camera(pixel_um=20.0, read_noise_counts=5.0, counts_per_photon=3.0)
STEADY = replace(
    SimulationParameters(), drift_rms=0.0, stage_rms_um=0.0, source=QUIET.source, detector=Detector(swank=1.0)
)


def line_with_ccd(camera=LARGE_PIXELS, parameters=STEADY, seed=0, **options):
    line = simulated_beamline(small_board(), "CAS", parameters=parameters, seed=seed)
    return line, SimulatedCCD(name="ccd", simulation=line.simulation, camera=camera, **options)


def scan(line, detector, count=64):
    options = {"board": line.board, "pattern_set": PatternSet(8, count), "exposure_s": 1.0, "incident_exposures": 8}
    options |= {"open_exposures": 8, "dark_exposures": 8, "open_every": 0}
    return hadamard_scan(line.stage, line.shutter, detector, object_stage=line.object_stage, **options)


def shows(measurement, truth) -> bool:
    """Whether the image is the truth within its noise; the open bucket's error is all in the first pixel."""
    wrong = (reconstruct(measurement, method="inverse").image - truth).ravel()[1:]
    sigma = np.sqrt(np.sum(measurement.sigma**2)) / truth.size
    return bool(0.5 < np.sqrt(np.mean((wrong / sigma) ** 2)) < 1.5)


def test_the_unit_is_counts():
    _, ccd = line_with_ccd()
    keys = ccd.describe()
    assert keys["ccd_current"]["units"] == keys["ccd_sigma"]["units"] == "counts"
    assert keys["ccd_exposure_s"]["units"] == "s"
    assert ccd.hints == {"fields": ["ccd_current"]}


def test_the_bucket_is_the_total_of_the_frame_without_its_offset():
    line, ccd = line_with_ccd()
    line.shutter.set("open").wait(timeout=PATIENCE_S)
    ccd.exposure_s.put(4.0)
    ccd.trigger().wait(timeout=PATIENCE_S)
    frame = ccd.detector.frame
    assert frame.size == line.simulation.frame_pixels(LARGE_PIXELS)
    assert ccd.current.get() == pytest.approx(frame.sum() - 100 * frame.size)
    photons = line.simulation.parameters.detector.photons_per_s(line.simulation.current_pa()) * 4.0
    assert ccd.current.get() == pytest.approx(3 * photons, abs=5 * ccd.sigma.get())
    assert line.shutter.open_s.get() == 4.0


def test_sigma_is_as_large_as_the_scatter():
    line, ccd = line_with_ccd()
    line.shutter.set("open").wait(timeout=PATIENCE_S)
    buckets, sigmas = [], []
    for _ in range(300):
        ccd.trigger().wait(timeout=PATIENCE_S)
        buckets.append(ccd.current.get())
        sigmas.append(ccd.sigma.get())
    assert np.std(buckets) == pytest.approx(np.mean(sigmas), rel=0.15)


def test_a_scan_with_the_ccd_gives_the_picture_of_the_diode(RE, documents):
    measured = {}
    for name in ("diode", "ccd"):
        documents.clear()
        line, ccd = line_with_ccd(seed=5)
        RE(scan(line, ccd if name == "ccd" else line.diode))
        measured[name] = Measurement.from_documents(documents)
    one, other = measured["diode"], measured["ccd"]
    assert one.scale == other.scale == "transmission"
    assert other.sigma_origin == "given"
    difference = (one.coefficient - other.coefficient)[1:]  # pattern 0 is the open bucket, whose error is common
    sigma = np.hypot(one.sigma, other.sigma)[1:]
    common = np.hypot(one.sigma_common, other.sigma_common)
    assert np.std(difference / sigma) == pytest.approx(1, rel=0.35)
    assert abs(difference.mean()) < 4 * np.hypot(common, sigma.mean() / np.sqrt(63))
    assert shows(other, line.simulation.truth)


def test_start_document_events_and_progress_name_the_ccd(RE, documents, monkeypatch):
    line, ccd = line_with_ccd()
    shown: list[str] = []
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda bar, text="", refresh=True: shown.append(text))
    RE(scan(line, ccd, 8), ScanProgress(io.StringIO()))
    assert any(text.endswith(" counts") for text in shown)
    metadata = documents.of("start")[0]["cxgi"]
    assert (metadata["fields"]["bucket"], metadata["bucket_unit"]) == ("ccd_current", "counts")
    assert len(Exposures.from_documents(documents)) == 8
    assert not line.simulation.shutter_open


def test_without_a_gain_sigma_is_unknown_and_estimated(RE, documents):
    line, ccd = line_with_ccd()
    blind = AreaDetectorDiode(name="ccd", detector=ccd.detector)
    RE(scan(line, blind))
    m = Measurement.from_documents(documents)
    assert np.isnan(blind.sigma.get())
    assert m.sigma_origin.startswith("estimated")
    assert shows(m, line.simulation.truth)  # the offset of all pixels is in the dark exposures, and goes


def test_a_saturated_frame_is_left_out(caplog):
    camera = replace(LARGE_PIXELS, saturation_counts=300.0)
    line, ccd = line_with_ccd(camera)
    line.shutter.set("open").wait(timeout=PATIENCE_S)
    ccd.trigger().wait(timeout=PATIENCE_S)
    assert np.isnan(ccd.current.get())
    assert np.isnan(ccd.sigma.get())
    assert "saturated" in caplog.text


def test_many_pixels_bring_their_read_out_noise():
    """One reason for a diode: the same light on a camera of small pixels is lost in its read-out noise."""
    line, fine = line_with_ccd(Camera(pixel_um=2.0))
    diode = line.simulation.parameters.detector.variance_pa2(5.0, 1.0) ** 0.5 / 5.0
    photons = line.simulation.parameters.detector.photons_per_s(5.0)
    assert fine._sigma_of(photons) / photons > diode


# ---------------------------------------------------------------- a detector that misbehaves


def triggered(ccd):
    ccd.trigger().wait(timeout=PATIENCE_S)


def test_a_total_that_is_not_of_this_frame_is_refused():
    _, ccd = line_with_ccd(late_s=0.1)
    ccd.detector.stats.array_counter.put = lambda value: None  # callbacks of the plugin switched off
    with pytest.raises(RuntimeError, match=r"has seen no new frame within late_s 0\.1 s: enable the plugin"):
        triggered(ccd)


def test_a_plugin_that_does_not_block_is_waited_for():
    _, ccd = line_with_ccd()
    stats = ccd.detector.stats
    total, counter = stats.total.put, stats.array_counter.put
    stats.total.put = lambda value: threading.Timer(0.2, total, [7e6]).start()
    stats.array_counter.put = lambda value: threading.Timer(0.2, counter, [value]).start()
    triggered(ccd)
    assert ccd.current.get() == 7e6 - ccd._background


def test_a_camera_that_changes_the_exposure_time_is_refused():
    _, ccd = line_with_ccd()
    time_signal = ccd.detector.cam.acquire_time
    original = time_signal.put
    time_signal.put = lambda value: original(min(value, 0.25))
    with pytest.raises(RuntimeError, match=r"exposed for 0\.25 s instead of 1 s"):
        triggered(ccd)


def test_a_failed_acquisition_fails_the_exposure():
    _, ccd = line_with_ccd()

    def broken():
        status = Status(timeout=PATIENCE_S)
        status.set_exception(OSError("camera off"))
        return status

    ccd.detector.trigger = broken
    with pytest.raises(OSError, match="camera off"):
        triggered(ccd)


def test_an_interrupted_exposure_is_forgotten():
    line, ccd = line_with_ccd(time_scale=0.5)
    line.shutter.set("open").wait(timeout=PATIENCE_S)
    first = ccd.trigger()
    ccd.trigger().wait(timeout=PATIENCE_S)
    first.wait(timeout=PATIENCE_S)
    assert line.simulation.exposures == 1
    assert ccd.detector.stats.array_counter.get() == 1


def test_staging_and_stopping_reach_the_detector():
    calls = []

    class Listening(Device):
        cam = Component(Device)
        stats = Component(SimulatedStats)

        def stage(self):
            calls.append("stage")
            return super().stage()

        def unstage(self):
            calls.append("unstage")
            return super().unstage()

        def stop(self, *, success=False):
            calls.append("stop")

    ccd = AreaDetectorDiode(name="ccd", detector=Listening(name="detector"))
    ccd.stage()
    ccd.stop()
    ccd.unstage()
    assert calls == ["stage", "stop", "unstage"]


class OneAtATimeCam(SimulatedCam):
    acquire = Component(Signal, value=0)


class OneAtATime(Device):
    """As ophyd's SingleTrigger: an acquisition ends with the fall of `cam.acquire`, a second trigger joins it."""

    cam = Component(OneAtATimeCam)
    stats = Component(SimulatedStats)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.running: Status | None = None
        self.begun = 0
        self.cam.acquire.subscribe(self._fallen, run=False)

    def trigger(self):
        if self.running is None:
            self.running = Status(timeout=PATIENCE_S)
            self.begun += 1
            self.cam.acquire.put(1)
        return self.running

    def frame(self, total: float) -> None:
        self.stats.total.put(total)
        self.stats.array_counter.put(self.stats.array_counter.get() + 1)
        self.cam.acquire.put(0)

    def _fallen(self, value, **_):
        if value == 0 and self.running is not None:
            ended, self.running = self.running, None
            ended.set_finished()


@pytest.mark.parametrize("paused", [False, True])
def test_a_repeated_exposure_has_a_frame_of_its_own(paused):
    ccd = AreaDetectorDiode(name="ccd", detector=OneAtATime(name="one"))
    first = ccd.trigger()
    if paused:
        ccd.pause()
        first.wait(timeout=PATIENCE_S)
        assert ccd.detector.running is None
    again = ccd.trigger()
    first.wait(timeout=PATIENCE_S)
    eventually(lambda: ccd.detector.begun == 2 and ccd.detector.running is not None, True)
    assert not again.done
    ccd.detector.frame(7.0)
    again.wait(timeout=PATIENCE_S)
    assert ccd.current.get() == 7.0


def test_a_frame_after_stopping_is_not_taken():
    ccd = AreaDetectorDiode(name="ccd", detector=PlainDetector(name="plain"))
    pending = Status(timeout=PATIENCE_S)
    ccd.detector.trigger = lambda: pending  # a detector that cannot be stopped
    first = ccd.trigger()
    ccd.stop()
    ccd.detector.stats.total.put(5.0)
    pending.set_finished()
    first.wait(timeout=PATIENCE_S)
    assert ccd.current.get() == 0.0


def test_a_detector_that_fails_to_begin_again_fails_the_exposure():
    ccd = AreaDetectorDiode(name="ccd", detector=OneAtATime(name="one"))
    ccd.trigger()

    def broken():
        raise OSError("camera off")

    ccd.detector.trigger = broken
    with pytest.raises(OSError, match="camera off"):
        ccd.trigger().wait(timeout=PATIENCE_S)


class PlainStats(Device):
    total = Component(Signal, value=0.0)


class PlainDetector(Device):
    """A detector that tells no more than its total."""

    cam = Component(SimulatedCam)
    stats = Component(PlainStats)

    def trigger(self):
        self.stats.total.put(1e5)
        status = Status(timeout=PATIENCE_S)
        status.set_finished()
        return status


def test_a_detector_without_counter_and_maximum_will_do():
    ccd = AreaDetectorDiode(
        name="ccd", detector=PlainDetector(name="plain"), background_per_pixel=10, pixels=100, saturation_counts=50
    )
    triggered(ccd)
    assert ccd.current.get() == pytest.approx(1e5 - 1000)


def test_the_names_are_those_of_area_detector():
    from ophyd.areadetector.cam import CamBase
    from ophyd.areadetector.plugins import StatsPlugin

    assert {"total", "max_value", "array_counter", "compute_statistics", "enable", "blocking_callbacks"} <= set(
        StatsPlugin.component_names
    )
    assert "acquire_time" in CamBase.component_names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background_per_pixel": 100.0}, "need pixels"),
        ({"read_noise_counts": 2.0}, "need pixels"),
        ({"read_noise_counts": -2.0, "pixels": 4}, "impossible"),
        ({"counts_per_photon": 0.0}, "counts_per_photon 0"),
    ],
)
def test_impossible_numbers(options, message):
    with pytest.raises(CxgiError, match=message):
        AreaDetectorDiode(name="ccd", detector=object(), **options)
