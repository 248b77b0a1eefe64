"""Conditions on runs, such as ``sample == "leaf" and time > "2026-11-01"``: a small language, read by Python's parser.

Nothing is evaluated by Python: of its grammar only comparisons, ``and``, ``or``, ``not``, names and constants are
taken. A name that a run does not have is None there.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from .run_index import IndexedRun

MAX_CHARACTERS = 10_000
EXIT_STATUS = "exit_status"  # of the stop document; every other name is one of the start document
UNFINISHED = "unfinished"  # the status of a run without a stop document
EXAMPLE = 'sample == "leaf" and time > "2026-11-01"'

Test = Callable[["IndexedRun"], bool]
Value = Callable[["IndexedRun"], Any]
Names = Mapping[str, Any]


def choose_runs(condition: str, runs: Sequence[IndexedRun]) -> list[IndexedRun]:
    """Choose the runs that meet a condition, in the order given.

    Parameters
    ----------
    condition : str
        Comparisons (``== != < <= > >= in``, ``not in``) joined by ``and``, ``or``, ``not`` and parentheses. Names are
        those of the start document, dotted in its blocks (``cxgi.exposure_s``), and ``exit_status``. Constants are
        numbers, texts, True, False, None and lists. ``time`` is compared with a date or moment in local time, as text.
    runs : sequence of IndexedRun
        All runs that there are.

    Raises
    ------
    CxgiError
        If it cannot be read, has a name that no run has, or compares what cannot be equal or ordered in any run.
    """
    reader = _Reader(runs)
    test = reader.read(condition)
    return [run for run in runs if test(run)]


class _Reader:
    """Turns a condition into a function of a run, and checks it on all runs."""

    def __init__(self, runs: Sequence[IndexedRun]) -> None:
        self._runs = runs

    def read(self, condition: str) -> Test:
        if len(condition) > MAX_CHARACTERS:
            raise ConfigError(f"the query has {len(condition)} characters: give at most {MAX_CHARACTERS}")
        try:
            return self._test(ast.parse(condition.strip(), mode="eval").body)
        except SyntaxError as error:
            hint = ": equality is ==" if re.search(r"(?<![<>!=])=(?!=)", condition) else ""
            raise ConfigError(
                f"the query cannot be read ({error.msg}){hint}: write it like {EXAMPLE}, not {_shorten(condition)}"
            ) from error
        except (ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"the query cannot be read ({error}): write it like {EXAMPLE}") from error

    def _test(self, node: ast.expr) -> Test:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                tests = [self._test(part) for part in parts]
                return lambda run: all(test(run) for test in tests)
            case ast.BoolOp(values=parts):
                tests = [self._test(part) for part in parts]
                return lambda run: any(test(run) for test in tests)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                test = self._test(part)
                return lambda run: not test(run)
            case ast.Compare():
                return self._comparison(node)
        raise ConfigError(f"{_text(node)} in the query is no comparison: write it like {EXAMPLE}")

    def _comparison(self, node: ast.Compare) -> Test:
        sides = [node.left, *node.comparators]
        tests = [
            self._pair(left, operator, right) for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return lambda run: all(test(run) for test in tests)

    def _pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Test:
        if type(operator) not in _OPERATORS:
            raise ConfigError(f"the query compares with is: write {_text(left)} == {_text(right)}, or !=")
        holds, can = _OPERATORS[type(operator)]
        of_time = "time" in (_name(left), _name(right))
        if of_time and not isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            raise ConfigError('time in the query is a moment: write "2026-11-01" <= time < "2026-11-02"')
        first, second = self._value(left, dates=of_time), self._value(right, dates=of_time)
        pairs = [(first(run), second(run)) for run in self._runs]
        given = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
        if given and not any(can(*pair) for pair in given):
            kinds = " with ".join(
                f"{_text(side)}, which is {_kind(value)}" for side, value in zip((left, right), given[0], strict=True)
            )
            raise ConfigError(f"the query compares {kinds}: in no run they can be compared so")
        return lambda run: holds(first(run), second(run))

    def _value(self, node: ast.expr, *, dates: bool = False) -> Value:
        name = _name(node)
        if name is not None:
            self._check_name(name)
            return lambda run: _look_up(run, name)
        constant = _constant(node)
        if dates:
            constant = _moment(constant)
        return lambda run: constant

    def _check_name(self, name: str) -> None:
        if name == EXIT_STATUS or not self._runs or any(_has(run, name) for run in self._runs):
            return
        known = {EXIT_STATUS}.union(*(set(_list_names(run.start)) for run in self._runs))
        near = difflib.get_close_matches(name, known, n=3) or sorted(
            one for one in known if name.rpartition(".")[2] == one.rpartition(".")[2]
        )
        hint = f"did you mean {' or '.join(near)}?" if near else f"such names are {', '.join(sorted(known)[:12])}"
        raise ConfigError(f"no run has the name {name} of the query: {hint} (texts are written in quotes)")


# ---------------------------------------------------------------- names


def _name(node: ast.expr) -> str | None:
    """Name, dotted or not; None for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            before = _name(value)
            return None if before is None else f"{before}.{name}"
    return None


def _walk(start: Any, name: str) -> tuple[bool, Any]:
    value = start
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _has(run: IndexedRun, name: str) -> bool:
    return _walk(run.start, name)[0]


def _look_up(run: IndexedRun, name: str) -> Any:
    if name == EXIT_STATUS:
        return (run.stop or {}).get(EXIT_STATUS, UNFINISHED)
    return _walk(run.start, name)[1]


def _list_names(block: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in block.items():
        yield before + key
        if isinstance(value, Mapping):
            yield from _list_names(value, f"{before}{key}.")


# ---------------------------------------------------------------- constants


def _constant(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if _kind(value) == "a number":
            return -value  # type: ignore[operator]  # a number, as its kind says
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_constant(part) for part in parts]
    raise ConfigError(f"{_text(node)} in the query is neither a name nor a number, text or list: write it out")


def _moment(constant: Any) -> Any:
    """Seconds since 1970 of a date or moment, in local time where it names no other."""
    if not isinstance(constant, str):
        return constant
    try:
        return datetime.fromisoformat(constant).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f'time {constant!r} of the query is no date: write "2026-11-01" or "2026-11-01 17:30"'
        ) from error


def _text(node: ast.expr) -> str:
    return _shorten(ast.unparse(node))


def _shorten(text: str) -> str:
    return text if len(text) < 60 else f"{text[:57]}..."


# ---------------------------------------------------------------- comparisons


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a group of names" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else "None"


def _can_order(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and _kind(left) in ("a number", "a text")


def _can_equal(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) != "a group of names"


def _can_contain(left: Any, right: Any) -> bool:
    if isinstance(right, str):
        return isinstance(left, str)
    return isinstance(right, list | tuple) and (not right or any(_can_equal(left, one) for one in right))


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right) if _kind(left) == _kind(right) else False


def _is_in(left: Any, right: Any) -> bool:
    if isinstance(right, str):
        return isinstance(left, str) and left in right
    return isinstance(right, list | tuple) and any(_equal(left, one) for one in right)


_OPERATORS: dict[type[ast.cmpop], tuple[Callable[[Any, Any], bool], Callable[[Any, Any], bool]]] = {
    ast.Eq: (_equal, _can_equal),
    ast.NotEq: (lambda left, right: not _equal(left, right), _can_equal),
    ast.Lt: (lambda left, right: _can_order(left, right) and left < right, _can_order),
    ast.LtE: (lambda left, right: _can_order(left, right) and left <= right, _can_order),
    ast.Gt: (lambda left, right: _can_order(left, right) and left > right, _can_order),
    ast.GtE: (lambda left, right: _can_order(left, right) and left >= right, _can_order),
    ast.In: (_is_in, _can_contain),
    ast.NotIn: (lambda left, right: not _is_in(left, right), _can_contain),
}
