"""Programs forked from a process that has imported are as those that begin anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests import warm
from tests.patience import PATIENCE_S

PROGRAMS = {
    "arguments": "import sys; print(sys.argv, __name__, sys.stdin.read())",
    "exit": "import sys; sys.exit(3)",
    "text": "import sys; sys.exit('what is wrong')",
    "error": "1 / 0",
    "at exit": "import atexit; atexit.register(print, 'closed'); print('open')",
    "thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('later'))).start()",
    "child": "import multiprocessing as m; print(m.parent_process(), m.current_process().name)",
    "ctrl-c": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "told to end": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "place": "import os; print(os.getcwd(), os.environ['ONE'], 'HOME' in os.environ)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_and_says_what_it_would(name, tmp_path):
    arguments, environment = [sys.executable, "-c", PROGRAMS[name], "one", "--two"], {"ONE": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    found = []
    for popen, text in ((subprocess.Popen, {"text": True}), (warm.Popen, {})):
        process = popen(arguments, **pipes, **text, env=environment, cwd=tmp_path)
        out, errors = process.communicate("said", timeout=PATIENCE_S)
        found.append((process.returncode, out, errors.splitlines()[-1:]))
    assert found[0] == found[1]


def test_modules_and_scripts_run(tmp_path):
    (tmp_path / "script.py").write_text("import sys; from beside import x; print(x, sys.argv[1:], __file__)")
    (tmp_path / "beside.py").write_text("x = 1")
    script = str(tmp_path / "script.py")
    assert warm.run([sys.executable, script, "a"], check=True).stdout == f"1 ['a'] {script}\n"
    done = warm.run([sys.executable, "-m", "cxgi_bluesky.cli", "reconstruct"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cxgi: name a run or a file")


def test_it_is_signalled_and_talked_with():
    code = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    with warm.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.write("one\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ONE\n"
        assert child.poll() is None
        assert os.getpgid(child.pid) == os.getpgid(0)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)
        child.terminate()
    assert child.poll() == child.wait() == -signal.SIGTERM
    child.kill()  # which nobody gets
