"""The help: what a newcomer finds first, and examples that work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxgi_bluesky import session
from cxgi_bluesky.cli.program import build_parser, main
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from tests.conftest import smooth_image
from tests.patience import PATIENCE_S


def commands():
    return build_parser()._subparsers._group_actions[0].choices


def examples_of(parser):
    return re.findall(r"^  # .+\n  (cxgi .+)$", parser.epilog, flags=re.MULTILINE)


def words_of(example):
    """The arguments; what is behind > is the shell's."""
    return shlex.split(example.partition(">")[0])[1:]


EXAMPLES = [(name, example) for name, parser in commands().items() for example in examples_of(parser)]
QUICK = {
    "plan", "runs", "show", "export", "recover", "reconstruct", "quality", "convert", "d-r", "queue-profile",
    "completion",
}  # fmt: skip
SLOW = {"d-r --run last", "--beamline beamline.yml", "ch-mwcnn"}  # another kind of scan, a beamline, the network


@pytest.mark.parametrize("name", commands())
def test_each_command_has_one_to_three_examples(name):
    examples = examples_of(commands()[name])
    assert 1 <= len(examples) <= 3
    assert all(example.split()[1] == name for example in examples)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_each_example_is_taken_by_the_grammar(name, example):
    if "--example" in example:  # prints and ends
        return
    assert build_parser().parse_args(words_of(example)).command


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A folder with what examples name, and how the runs are called here."""
    folder = tmp_path_factory.mktemp("examples")
    before, old = os.getcwd(), os.environ.get("CXGI_DATA")
    os.chdir(folder)
    os.environ["CXGI_DATA"] = str(folder / "data")
    s = session.start(sim=True, board="cu32", live=False, progress=False)
    (uid,) = s.RE(s.scan(0.1, exposure_s=1.0))
    s.reconstruct(uid, method="inverse")
    image = list(s.catalog)[-1]
    rows = enumerate(walsh_hadamard_2d(smooth_image(64)).ravel() + 1e4)
    Path("buckets.csv").write_text("pattern_index,bucket\n" + "".join(f"{k},{value:.9g}\n" for k, value in rows))
    Path("list.txt").write_text("".join(f"{value:.9g}\n" for value in range(1, 4097)))
    Path("demo-output").mkdir()
    np.save("image.npy", np.pad(np.ones((40, 40)), 12))
    for name in ("tv", "object"):
        s.reconstruct(uid, method="inverse").save(f"demo-output/{name}.png")
    yield {"1a2b3c4d": image[:8], " 12": " 1", " 13 14": ""}
    os.chdir(before)
    os.environ.pop("CXGI_DATA")
    if old is not None:
        os.environ["CXGI_DATA"] = old


@pytest.mark.parametrize(
    "example", [e for name, e in EXAMPLES if name in QUICK and not any(word in e for word in SLOW)]
)
def test_quick_examples_run(example, beside, capsys):
    for old, new in beside.items():
        example = example.replace(old, new)
    assert main([*words_of(example), *(["--quiet"] if "--json" not in example else [])]) == 0
    assert capsys.readouterr().err == ""


def test_the_first_command_of_the_help_is_the_place_to_begin(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", capsys.readouterr().out, flags=re.MULTILINE)
    assert listed[0] == "demo"
    assert sorted(listed) == sorted(commands())


def test_the_grammar_loads_nothing_that_the_help_does_not_need():
    code = (
        "import sys; from cxgi_bluesky.cli import build_parser; build_parser().format_help(); "
        "print({'rich', 'argcomplete', 'bluesky', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "set()\n"
