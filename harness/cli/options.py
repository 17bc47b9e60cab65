"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def plugin_options(command: Command) -> Command:
    """``-p/--plugin`` and ``--no-plugins``."""
    command = click.option(
        "--no-plugins",
        "no_plugins",
        is_flag=True,
        help="Load no plugin of another distribution than the harness.",
    )(command)
    return click.option(
        "-p",
        "--plugin",
        "plugins",
        multiple=True,
        metavar="MODULE|FILE.py",
        help="Load a plugin without installing it. Repeatable.",
    )(command)


def machine_options(command: Command) -> Command:
    """On what a command runs: ``--device``, ``--dtype``, ``--offline``, ``--gradient-checkpointing``, ``--deterministic``."""
    for option in reversed(_MACHINE):
        command = option(command)
    return command


_MACHINE = (
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]"),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="auto: float32 on CPUs, bfloat16 on CUDA devices that have it.",
    ),
    click.option("--offline", is_flag=True, help="Ask no network; read only what is cached."),
    click.option("--gradient-checkpointing", is_flag=True, help="Train with less memory, and slower."),
    click.option(
        "--deterministic",
        is_flag=True,
        help="Algorithms that give the same numbers each time, and a batch plan that nothing else changes.",
    ),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
