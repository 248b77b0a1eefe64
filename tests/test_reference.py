"""Every public name has its entry in the API reference (docs/reference/api)."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
FOLDERS = ("tutorials", "how-to", "explanation", "reference")  # whose examples a user copies
DIRECTIVE = re.compile(r"^\.\. (?:auto|py:)(?!currentmodule)(\w+):: ([\w.]+).*\n((?:   :.*\n)*)", flags=re.MULTILINE)
IMPORT = re.compile(r"^ *from (cxgi_bluesky[\w.]*) import (.*)$", flags=re.MULTILINE)


def name_module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_faces() -> Iterator[tuple[str, str]]:
    """Names of each `__all__`, and of each `import X as X` of a room's `__init__.py`."""
    for file in (ROOT / "cxgi_bluesky").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        module = name_module(file)
        if any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__" for node in tree.body):
            yield from ((module, name) for name in import_module(module).__all__ if not name.startswith("_"))
        elif file.name == "__init__.py":
            imports = [alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
            yield from ((module, alias.name) for alias in imports if alias.asname == alias.name)


def find_imports() -> Iterator[tuple[str, str]]:
    """Names that an example of README, documentation or notebook imports."""
    pages = [ROOT / "README.md", *(page for folder in FOLDERS for page in (ROOT / "docs" / folder).glob("*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    for notebook in (ROOT / "docs").glob("tutorials/*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for module, names in IMPORT.findall("\n".join(texts)):
        yield from ((module, name.strip()) for name in names.split(","))


def find_entries() -> Iterator[tuple[str, Any]]:
    """Full name and object of each entry; of a module also its functions and classes, by its `__all__` if there is."""
    for page in (REFERENCE / "api").glob("*.md"):
        for kind, name, options in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if kind != "module":
                yield name, locate(name)
                continue
            module = import_module(name)
            yield name, module
            left_out = {
                word.strip() for found in re.findall(r":exclude-members: (.*)", options) for word in found.split(",")
            }
            for member in set(getattr(module, "__all__", vars(module))) - left_out:
                value = None if member.startswith("_") else getattr(module, member)
                if callable(value) and (hasattr(module, "__all__") or getattr(value, "__module__", "") == name):
                    yield f"{name}.{member}", value


ENTRIES = dict(find_entries())


@pytest.mark.parametrize(("module", "name"), sorted({*find_faces(), *find_imports()}))
def test_a_public_name_has_an_entry(module, name):
    value = getattr(import_module(module), name)
    documented = [entry for entry, known in ENTRIES.items() if known is value and entry.endswith(f".{name}")]
    if not callable(value):  # equal constants may be the same object
        documented = [entry for entry in documented if entry.startswith(module.rsplit(".", 1)[0])]
    assert documented, f"{module}.{name}: name it in a page of docs/reference/api"


def test_an_entry_is_of_something_that_exists():
    assert [name for name, value in ENTRIES.items() if value is None] == []


def test_each_page_is_in_the_contents():
    contents = (REFERENCE / "index.md").read_text(encoding="utf-8")
    assert [page.stem for page in (REFERENCE / "api").glob("*.md") if f"api/{page.stem}\n" not in contents] == []
