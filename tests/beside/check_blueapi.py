"""blueapi takes every plan and runs a scan, which is stored: ``python -m tests.beside.check_blueapi FOLDER``.

For an environment of its own with blueapi, see ``make test-beside``.
"""

from __future__ import annotations

import sys

from blueapi.core import BlueskyContext
from blueapi.worker import Task, TaskWorker

from cxgi_bluesky import plans, session
from cxgi_bluesky.catalog import find_run
from tests.patience import eventually


def main(folder: str) -> None:
    context = BlueskyContext()
    s = session.start(engine=context.run_engine, board="cu32", data=folder, live=False, progress=False)
    for device in s.beamline.all_devices:
        context.register_device(device)
    by_uid = {plan.__name__: plan for plan in s.plans_by_uid()}
    for name in plans.__all__:
        context.register_plan(by_uid.get(name, getattr(plans, name)))
    assert {getattr(plans, name).__name__ for name in plans.__all__} == set(context.plans)

    begun = []
    context.run_engine.subscribe(lambda name, start: begun.append(start["uid"]), "start")
    worker = TaskWorker(context)
    worker.start()
    devices = {"stage": s.stage.name, "shutter": s.shutter.name, "diode": s.diode.name}
    words = {"pattern_set": s.pattern_set(0.0625).to_dict(), "exposure_s": 1.0, "object_stage": s.object_stage.name}
    task = worker.submit_task(Task(name="mask_scan", params={**devices, **words}, metadata={"proposal": "7"}))
    worker.begin_task(task)
    eventually(lambda: worker.get_task_by_id(task).is_complete, True)
    done = worker.get_task_by_id(task)
    assert not done.errors, done.errors
    worker.stop()
    (uid,) = begun
    run = find_run(s.catalog, uid)
    assert run.metadata["stop"]["exit_status"] == "success"
    assert run.metadata["stop"]["num_events"]["primary"] == 64
    assert run.metadata["start"]["proposal"] == "7"
    print(f"blueapi: {len(context.plans)} plans, run {uid[:8]} with 64 exposures")


if __name__ == "__main__":
    main(sys.argv[1])
