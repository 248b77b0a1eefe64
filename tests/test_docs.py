from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cxgi_bluesky import Measurement, hadamard_scan, reconstruct, session
from cxgi_bluesky.cli.program import build_parser, main
from cxgi_bluesky.devices.simulated.beamline import SimulatedKnife
from cxgi_bluesky.devices.simulated.ccd import SimulatedAreaDetector
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import SHIPPED_WEIGHTS
from cxgi_bluesky.simulation.camera import Camera
from cxgi_bluesky.simulation.objects.paper import gold_semi_cylinder
from cxgi_bluesky.simulation.objects.rendering import block_mean
from tests.cases import long_case
from tests.conftest import smooth_image
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```(python|sh|console)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def run_page(name: str, replacements: Mapping[str, str], names: dict[str, Any]) -> None:
    """Run its blocks in their order, commands in this process; ``{name}`` in a replacement is a variable by then."""
    for reason, language, block in BLOCK.findall((ROOT / name).read_text(encoding="utf-8")):
        if reason:
            continue
        for old, new in replacements.items():
            if old in block:
                block = block.replace(old, new.format_map(names))
        if language == "python":
            exec(compile(block, name, "exec"), names)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True) or ["cxgi", "runs"]
            assert program == "cxgi", line
            assert main(arguments) == 0, line


# ---------------------------------------------------------------- what the reader of a page has already


def nothing() -> dict[str, Any]:
    return {}


def start(board: str = "cu32") -> dict[str, Any]:
    return {"s": session.start(sim=True, board=board, live=False, progress=False)}


def scanned() -> dict[str, Any]:
    s = start()["s"]
    (uid,) = s.RE(s.scan(0.05, exposure_s=1.0))
    s.reconstruct(uid, method="inverse")
    return {"s": s, "scan": uid, "short": uid[:8], "stored": list(s.catalog)[-1]}


def scanned_leaf() -> dict[str, Any]:
    s = start()["s"]
    s.RE(s.scan(0.05, exposure_s=1.0, md={"sample": "leaf"}))
    return {"s": s}


def measured_from(image: np.ndarray) -> Measurement:
    rows = enumerate(walsh_hadamard_2d(image).ravel())
    Path("buckets.csv").write_text("pattern_index,bucket\n" + "".join(f"{k},{value:.9g}\n" for k, value in rows))
    return Measurement.from_csv("buckets.csv", size=len(image), coding="signed")


def image_files() -> dict[str, Any]:
    gold = reconstruct(measured_from(block_mean(gold_semi_cylinder(64, 4), 4).astype(float)), method="inverse")
    Path("demo-output").mkdir()
    for name in ("demo-output/tv.png", "demo-output/object.png", "picture.npy"):
        gold.save(name)
    np.save("tile.npy", np.kron(np.where(pattern(32, 136) > 0, 10.0, 2.0), np.ones((4, 4))))
    return {}


def bucket_files() -> dict[str, Any]:
    m = measured_from(smooth_image(32))
    np.savetxt("list.txt", m.coefficient)
    np.save("pairs.npy", np.abs(np.random.default_rng(0).normal(100, 1, size=(64 * 64, 2))))
    columns = {"pattern_index": m.pattern_index, "bucket": m.coefficient, "sigma": np.ones(len(m.coefficient))}
    return {**columns, "measurements": [m, m]}


def knife_and_image() -> dict[str, Any]:
    s = start("au64")["s"]
    knife = SimulatedKnife(name="knife", axis="x", simulation=s.beamline.simulation)
    return {"s": s, "knife": knife, "result": SimpleNamespace(image=s.beamline.simulation.truth)}


def camera_devices() -> dict[str, Any]:
    s = start()["s"]
    detector = SimulatedAreaDetector(name="det", simulation=s.beamline.simulation, camera=Camera(pixel_um=50))
    devices = {"stage": s.stage, "shutter": s.shutter, "detector": detector}
    scan = {"board": s.board, "pattern_set": s.pattern_set(0.02), "RE": s.RE, "hadamard_scan": hadamard_scan}
    return {**devices, **scan}


def speckle_frames() -> dict[str, Any]:
    return {"frames": np.random.default_rng(0).uniform(1, 2, size=(16, 24, 24))}


def trained_weights() -> dict[str, Any]:
    Path("trained").mkdir()
    Path("trained/ch_mwcnn.safetensors").symlink_to(SHIPPED_WEIGHTS)
    return {"measurement": measured_from(smooth_image(32))}


def own_devices() -> dict[str, Any]:
    """The two files that the page has its reader write."""
    text = (ROOT / "docs/how-to/use-your-own-devices.md").read_text(encoding="utf-8")
    for name, language in (("my_devices.py", "python"), ("my_beamline.yml", "yaml")):
        Path(name).write_text(re.search(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[1], encoding="utf-8")
    return {}


# Page, what is made smaller or is known only by then, and what its reader has already.
EXAMPLES = [
    ("README.md", {"0.1875": "0.02"}, nothing),
    long_case("docs/tutorials/first-session.md", {"s.board.size, 0.1875": "s.board.size, 0.02"}, nothing),
    long_case(
        "docs/tutorials/measure-only-what-is-needed.md",
        {"sim=True": "sim=True, board='cu32', live=False", "768": "180", "0.1875": "0.1"},
        nothing,
    ),
    ("docs/explanation/choosing-patterns.md", {}, dict),
    ("docs/explanation/light-path.md", {}, nothing),
    long_case("docs/how-to/choose-while-measuring.md", {"768": "120", "0.1875": "0.1"}, start),
    ("docs/how-to/align-a-board.md", {}, start),
    ("docs/how-to/make-a-board.md", {"0.125": "0.02"}, nothing),
    long_case(
        "docs/how-to/correct-for-the-masks.md", {"0.05": "0.01", "RUN": "{image}", "UID": "{reference}"}, nothing
    ),
    long_case(
        "docs/how-to/limit-and-resume.md",
        {"0.1875": "0.05", "max_open_s=600": "max_open_s=30", "resume_scan())": "resume_scan(max_open_s=600))"},
        start,
    ),
    long_case("docs/how-to/measure-resolution.md", {"cxgi demo --out demo-output": "#"}, image_files),  # cli/ has demos
    ("docs/how-to/export-a-run.md", {"1a2b3c4d": "{short}", "tv --out": "inverse --out"}, scanned),
    ("docs/how-to/follow-a-scan-from-elsewhere.md", {}, start),
    ("docs/how-to/show-the-image-in-epics.md", {}, start),
    ("docs/how-to/plan-a-measurement.md", {}, start),
    ("docs/how-to/reconstruct-a-file.md", {}, bucket_files),
    long_case("docs/how-to/reconstruct-many-runs.md", {}, scanned_leaf),
    long_case(
        "docs/how-to/sandpaper.md",
        {
            "(1024,": "(48,",
            "(10000, seed": "(48, seed",
            "128, 512, 1024": "16, 48",
            ", 5000, 10000": "",
            "7ba86031": "{uid}",
        },
        speckle_frames,
    ),
    long_case("docs/how-to/source-size-and-resolution.md", {}, knife_and_image),
    ("docs/how-to/train-the-network.md", {}, trained_weights),
    ("docs/how-to/use-a-camera-as-bucket.md", {}, camera_devices),
    ("docs/how-to/write-a-beamline-file.md", {}, dict),
    ("docs/how-to/use-your-own-devices.md", {}, own_devices),
    long_case(
        "docs/how-to/use-the-catalog.md",
        {"1a2b3c4d": "{scan}", "5e6f7a8b": "{stored}", "fraction 0.1": "fraction 0.02"},
        scanned,
    ),
]
RUN = {getattr(case, "values", case)[0] for case in EXAMPLES} | {"docs/how-to/simulate-a-board.md"}  # tests/simulation


@pytest.mark.parametrize(("name", "replacements", "begin"), EXAMPLES, ids=lambda v: v if isinstance(v, str) else "")
def test_examples_run(name, replacements, begin, tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names = begin()
    run_page(name, replacements, names)
    if "correct-for-the-masks" in name:  # shows what it made on the screen
        assert names["result"].source["reference_uids"] == [names["reference"]]
    elif begin is nothing and "light-path" not in name:
        assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("folder", [".", "docs/tutorials", "docs/how-to", "docs/explanation"])
def test_every_example_is_run_or_says_why_not(folder):
    for page in (ROOT / folder).glob("*.md"):
        text = page.read_text(encoding="utf-8")
        fences = re.findall(r"^```([^\n]*)\n.*?^```$", text, flags=re.DOTALL | re.MULTILINE)
        assert all(fences), f"{page.name}: name the language of each block (text for none)"
        name = page.relative_to(ROOT).as_posix()
        assert name in RUN or all(reason for reason, *_ in BLOCK.findall(text)), f"{name}: add it to EXAMPLES"


def test_the_documentation_names_each_of_its_pages():
    contents = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = (
        page
        for room in ("tutorials", "how-to", "explanation", "reference")
        for page in (ROOT / "docs" / room).glob("*.*")
    )
    titles = [
        f"{page.parent.name}/{page.name}" for page in pages if page.suffix in {".md", ".ipynb"} and page.stem != "index"
    ]
    assert [title for title in titles if f"]({title})" not in contents] == []


KERNEL = """
import runpy
runpy.run_path({conf!r})
import nbclient, nbformat.v4 as v4
notebook = v4.new_notebook(cells=[v4.new_code_cell("print(1 + 1)")])
print(nbclient.execute(notebook, cwd={folder!r}).cells[0].outputs[0].text)
"""


def test_nobody_can_listen_to_the_kernel_of_a_notebook_in_the_documentation(tmp_path):
    code = KERNEL.format(conf=str(ROOT / "docs/conf.py"), folder=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert run.stdout.strip() == "2", run.stderr
    assert "eavesdropping" not in run.stderr


@pytest.mark.parametrize("target", ["demo", "test", "docs"])
def test_make_says_what_takes_minutes(target):
    command = ["make", "--dry-run", "--always-make", target]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    slow = re.compile(r"pip install .*--editable|compileall|cxgi demo|kernels|sphinx")
    silent = [line for before, line in pairwise(lines) if slow.search(line) and not before.startswith("echo ")]
    assert silent == []


def title_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    return re.search(r"^# (.+)$", text, flags=re.MULTILINE)[1]


def test_links_show_titles_of_pages_and_no_file_names():
    contents = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    linked = re.findall(r"\[([^]]+)\]\(([^)]+)\)", contents)
    assert [text for text, target in linked if text != title_of(ROOT / "docs" / target)] == []
    named = {page.name: re.findall(r"\[\S+\.(?:md|ipynb)\]\(", page.read_text(encoding="utf-8")) for page in PAGES}
    assert {name: links for name, links in named.items() if links} == {}


def test_every_command_in_a_page_is_one_of_the_program():
    parser, wrong = build_parser(), []
    for page in PAGES:
        for _, block in re.findall(
            r"^```(sh|console|text)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
        ):
            for line in re.findall(r"^(?:\$ )?cxgi (.+)$", block.replace("\\\n", " "), flags=re.MULTILINE):
                words = shlex.split(line, comments=True)
                words = words[: next((place for place, word in enumerate(words) if word in {">", "|", "&"}), None)]
                try:
                    parser.parse_args(words)
                except (SystemExit, CxgiError) as error:
                    if getattr(error, "code", 2):  # 0: it has printed help or an example
                        wrong.append(f"{page.name}: cxgi {line}")
    assert wrong == []


def read_rows(page: str) -> list[list[str]]:
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_numbers_of_the_explanation_are_those_of_the_reference():
    columns = (("30 dB", "inverse"), ("30 dB", "tv"), ("30 dB", "ch-mwcnn"), ("20 dB", "ch-mwcnn"))
    rows = {(row[0], row[1], row[2]): row for row in read_rows("reference/pattern-selection.md") if len(row) == 11}
    shown = [
        row
        for row in read_rows("explanation/choosing-patterns.md")
        if len(row) == 7 and ("30 dB", row[0], "tv") in rows
    ]
    assert len(shown) == 5
    for order, *numbers in shown:
        known = [rows[noise, order, method][5].split(" / ")[0] for noise, method in columns]
        of_tiles = rows["30 dB", order, "tv"][9:]
        assert numbers == [*known, of_tiles[0], of_tiles[1].split(" / ")[0]], order
    gold = {(row[2], row[0]): row for row in read_rows("reproduction.md") if len(row) == 11 and row[1] == "CH-MWCNN"}
    named = ("none", "reference scan", "measured masks")
    for name, row in zip(named, read_rows("explanation/limits.md")[2:5], strict=True):
        assert row[1:] == [f"{gold[name, s][5]} dB, {gold[name, s][7]}" for s in ("1", "3", "10")], name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
