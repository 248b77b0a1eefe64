"""Keys of servers: in an environment variable, or in a file that only its owner can read. No message shows a key."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ..errors import ConfigError, StorageError

MIN_KEY = 16  # characters


def read_key_variable(variable: str) -> str | None:
    """Return the key in an environment variable; None if there is no such variable.

    Parameters
    ----------
    variable : str

    Raises
    ------
    CxgiError
        For a key that is too short or has other characters than letters and digits.
    """
    key = os.environ.get(variable)
    return None if key is None else _check_key(key, variable)


def read_or_make_key_file(path: Path, *, variable: str) -> str:
    """Return the key in a file; a file that is missing is made, with a random key, for its owner alone.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    variable : str
        Environment variable to name where the file cannot be used.

    Raises
    ------
    CxgiError
        For a file that cannot be used or that others can read, and a key as in `read_key_variable`.
    """
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, encoding="ascii", errors="replace") as file:
                if os.fstat(descriptor).st_mode & 0o077:
                    raise StorageError(f"{path} can be read by others: delete it, and a new key is made") from None
                return _check_key(file.read(4096).strip(), str(path))
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(32)}\n")
    except OSError as error:
        raise StorageError(f"key file {path} cannot be used ({error.strerror}): put a key into {variable}") from error
    return read_or_make_key_file(path, variable=variable)


def _check_key(key: str, where: str) -> str:
    if len(key) < MIN_KEY or not (key.isascii() and key.isalnum()):
        raise ConfigError(
            f"the key in {where} has {len(key)} characters: it must have {MIN_KEY} or more, letters and digits alone "
            "(openssl rand -hex 32)"
        )
    return key
