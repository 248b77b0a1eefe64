"""``cxgi completion``: what the shell needs to complete commands, options, runs and files."""

from __future__ import annotations

import argparse

from ._options import Commands, Echo, Payload, add_command

SHELLS = {
    "bash": 'eval "$(cxgi completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(cxgi completion zsh)" in ~/.zshrc, after compinit',
    "fish": "cxgi completion fish > ~/.config/fish/completions/cxgi.fish",
}


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "completion",
        completion,
        examples=[
            "cxgi completion bash >> ~/.bashrc  # or eval its output there",
            "cxgi completion fish > ~/.config/fish/completions/cxgi.fish  # for fish",
        ],
        data=False,
    )
    parser.add_argument("shell", choices=tuple(SHELLS))


def completion(options: argparse.Namespace, echo: Echo) -> Payload:
    """Print what makes the shell complete commands, options, runs and files of cxgi.

    Parameters
    ----------
    options : argparse.Namespace
        `shell`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The shell and its script, for ``--json``.
    """
    from argcomplete.shell_integration import shellcode

    script = shellcode(["cxgi"], shell=options.shell)
    echo(f"# {SHELLS[options.shell]}\n{script.strip()}")
    return {"shell": options.shell, "script": script}


def answer_shell(parser: argparse.ArgumentParser) -> None:
    """Write the words that could stand where the cursor is, and end the process.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of `cxgi`.
    """
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options=False)
