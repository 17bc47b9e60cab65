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


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
