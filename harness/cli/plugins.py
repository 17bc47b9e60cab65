"""``harness plugins``: what is installed, and how loading it went."""

from __future__ import annotations

import dataclasses
import json

import click

from harness.catalog import Plugin
from harness.cli.options import json_option, plugin_options
from harness.registry import load_catalog


@click.group()
def command() -> None:
    """List plugins and how loading them went."""


@command.command("list")
@plugin_options
@json_option
def list_plugins(plugins: tuple[str, ...], no_plugins: bool, as_json: bool) -> None:
    """Every plugin: name, distribution, version, status, what it brings, load time, error."""
    found = load_catalog(plugins, others=not no_plugins).plugins
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(plugin) for plugin in found], indent=1))
        return
    for plugin in found:
        click.echo(_line(plugin))


def _line(plugin: Plugin) -> str:
    brings = [
        f"{kind} {', '.join(names)}"
        for kind, names in (
            ("tasks", plugin.tasks),
            ("metrics", plugin.metrics),
            ("suites", plugin.suites),
            ("encoders", plugin.encoders),
            ("recipes", plugin.recipes),
            ("baselines", plugin.baselines),
        )
        if names
    ]
    tail = plugin.error or "; ".join(brings)
    return (
        f"{plugin.name:<16} {plugin.status:<8} {plugin.distribution} {plugin.version}  "
        f"{1000 * plugin.seconds:.0f} ms  {plugin.module}  {tail}"
    )
