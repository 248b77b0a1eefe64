"""The documentation site: `make docs`."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any

import jupyter_client
from sphinx.util.nodes import make_refnode
from traitlets import CaselessStrEnum

project = "cxgi_bluesky"
author = "the cxgi_bluesky authors"
copyright = author
release = version = version_of("cxgi_bluesky")

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "index"
exclude_patterns = ["_build"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"header_links_before_dropdown": 7, "github_url": "https://github.com/cxgi-bluesky/cxgi_bluesky"}
html_title = f"{project} {release}"
html_copy_source = False
smartquotes = False  # else --query is a dash
html_static_path, html_css_files = ["_static"], ["site.css"]

myst_heading_anchors = 4
nb_execution_mode = "force"  # pictures are those of today's code
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"

default_role = "py:obj"  # a name in backticks of a docstring links to its entry where there is one
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc does
python_maximum_signature_line_length = 100


class KernelManager(jupyter_client.AsyncKernelManager):
    """Starts the kernel of a notebook with encrypted sockets: no other user of the machine can listen."""

    transport_encryption = CaselessStrEnum(["disabled", "auto", "required"], default_value="required")


jupyter_client.AsyncKernelManager = KernelManager  # from where nbclient takes it, which myst-nb gives no settings

OUTSIDE = re.compile(r"\]\((?:\.\./)+((?:benchmarks|cxgi_bluesky)/[^)]+)\)")
REPOSITORY = "https://github.com/cxgi-bluesky/cxgi_bluesky/blob/main"


def link_repository(app: Any, docname: str, source: list[str]) -> None:
    """Let links to files outside docs/ lead to the repository."""
    source[0] = OUTSIDE.sub(rf"]({REPOSITORY}/\1)", source[0])


def link_elsewhere(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Let a name in single backticks link to its entry in another module, by the last parts of its full name."""
    target, python = str(node.get("reftarget")), env.get_domain("py")
    is_plain_word = target.islower() and "." not in target and "_" not in target  # an argument rather than a function
    if node.get("reftype") != "obj" or is_plain_word:
        return None
    kinds = {"class", "exception", "function", "data"}
    if "." in target:
        kinds |= {"attribute", "method", "module", "property"}
    found = [name for name, entry in python.objects.items() if name.endswith(f".{target}") and entry.objtype in kinds]
    if not found:
        return None
    entry = python.objects[min(found, key=lambda name: (name.count("."), name))]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, target)


def setup(app: Any) -> None:
    """Register the above."""
    app.connect("source-read", link_repository)
    app.connect("missing-reference", link_elsewhere)
