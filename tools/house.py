"""How the package is built, in numbers: entries, files, lines, names, raises, documentation.

python -m tools.house [PACKAGE] [--json]
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IRREGULAR = {
    "drawn", "redrawn", "found", "given", "held", "kept", "known", "left", "lit", "made", "said", "seen",
    "sent", "shown", "spent", "taken", "thrown", "told", "worn", "written", "begun",
}  # fmt: skip
NO_PARTICIPLES = {"need", "feed", "speed", "seed", "embed", "bed", "exceed", "proceed", "shed", "led", "red"}
OURS = (
    r"\w*_?words(_\w+)?|told\w*|tells?|says?(_\w+)?|Note|Say|judged?s?(_\w+)?|\w*picture\w*|(?!\w*template)\w*plate\w*|place|\w*twin\w*"
    r"|(FEWEST|LEAST|MOST|LARGEST|SMALLEST|LONGEST)_\w+|doubt_\w+|\w+_doubted|lies_as|fresh|put_noting|word_of|can_tell"
)
DOORS = (
    "_files", "cli", "plans", "catalog", "devices/config", "measurement/bucket_files", "masks/board_files.py",
    "masks/tile_map_files.py", "masks/speckle_files.py", "training/config.py", "reconstruction/ch_mwcnn/weights.py",
)  # fmt: skip
METHODS = {"inverse", "correlation", "tval3", "tv", "ch-mwcnn"}


def files_of(package: Path) -> list[Path]:
    """All modules."""
    return sorted(package.rglob("*.py"))


def lines_of_code(text: str) -> int:
    """Lines that hold code: without docstrings, comments and blank ones."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno is not None:
                held -= set(range(first.lineno, first.end_lineno + 1))
    return len(held)


def functions_of(tree: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Functions, and whether they are properties."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(one).split(".")[-1] for one in node.decorator_list}
            yield node, bool(decorators & {"property", "cached_property", "setter"})


def is_participle(name: str) -> bool:
    """Whether a function is named by what was done instead of what it does."""
    word = name.strip("_").split("_")[0]
    return word in IRREGULAR or (word.endswith("ed") and len(word) > 4 and word not in NO_PARTICIPLES)


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the arguments, but self and cls."""
    given = function.args
    names = [one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
    return [name for name in names if name not in ("self", "cls")]


def is_door(path: Path) -> bool:
    """Whether a module takes in what users and other programs give."""
    return path.as_posix().startswith(DOORS)


def measure(package: Path) -> dict[str, Any]:
    """All numbers of a package."""
    found = files_of(package)
    texts = {path.relative_to(package): path.read_text(encoding="utf-8") for path in found}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    functions = [(path, *each) for path, tree in trees.items() for each in functions_of(tree)]
    plain = [function for _, function, is_property in functions if not is_property]
    public = [
        function
        for function in plain
        if not function.name.startswith("_") and len(arguments_of(function)) >= 2 and ast.get_docstring(function)
    ]
    names = {
        path: {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        | {function.name for function, _ in functions_of(tree)}
        for path, tree in trees.items()
    }
    ours = {path: sorted(name for name in used if re.fullmatch(OURS, name)) for path, used in names.items()}
    raises = [
        path for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc
    ]
    quoted = [
        path
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in METHODS and isinstance(node.value, str)
        if path.parts[0] != "cli" and path.name != "registry.py"
    ]
    entries = [
        one.name
        for one in package.iterdir()
        if one.name not in ("__init__.py", "py.typed", "__pycache__") and (one.suffix == ".py" or one.is_dir())
    ]
    return {
        "entries": len(entries),
        "files": len(found),
        "lines_of_code": sum(map(lines_of_code, texts.values())),
        "functions": len(plain),
        "participles_percent": round(100 * sum(is_participle(function.name) for function in plain) / len(plain), 1),
        "files_with_words_of_our_own": sum(map(bool, ours.values())),
        "raises": len(raises),
        "raises_outside_the_doors": sum(not is_door(path) for path in raises),
        "public_functions_of_two_or_more_arguments": len(public),
        "of_these_with_parameters_percent": round(
            100 * sum("Parameters\n" in (ast.get_docstring(one) or "") for one in public) / max(1, len(public)), 1
        ),
        "modules_that_read_the_cxgi_block": sum('["cxgi"]' in text for text in texts.values()),
        "methods_in_quotes_outside_registry_and_cli": len(quoted),
    }


def main() -> None:
    """Print the numbers, as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.house", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", nargs="?", type=Path, default=Path(__file__).parents[1] / "cxgi_bluesky")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    numbers = measure(options.package)
    if options.json:
        print(json.dumps(numbers))
    else:
        for name, value in numbers.items():
            print(f"{name.replace('_', ' '):45} {value}")


if __name__ == "__main__":
    main()
