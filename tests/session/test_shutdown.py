"""A process that is told to end, and what it shares with others."""

from __future__ import annotations

import sys
import textwrap

from tests import warm


def test_a_child_that_is_told_to_end_leaves_the_queues_of_its_parent_whole():
    code = """
        import multiprocessing, os, signal, time
        from bluesky import RunEngine
        from cxgi_bluesky.session.shutdown import close_at_end
        class Shutter:
            name = "shutter"
            def close(self):
                print("closed", flush=True)
        def work(queue, begun):
            shutter = Shutter()
            close_at_end(RunEngine(), shutter)
            for _ in range(100):
                queue.put(bytes(100_000))  # more than the pipe takes: one is being written
            begun.set()
            time.sleep(60)
        context = multiprocessing.get_context("fork")
        queue, begun = context.Queue(), context.Event()
        worker = context.Process(target=work, args=(queue, begun))
        worker.start()
        begun.wait()
        os.kill(worker.pid, signal.SIGTERM)
        print(sum(len(queue.get()) for _ in range(100)))
        queue.put("more")
        print(queue.get())
        worker.join()
        print(worker.exitcode)
    """
    done = warm.run([sys.executable, "-c", textwrap.dedent(code)])
    assert done.stdout.split() == ["closed", "10000000", "more", "-15"], done.stderr
