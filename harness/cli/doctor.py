"""``harness doctor``: what this machine can do, and how steady a model's scores are on it."""

from __future__ import annotations

import json
from typing import Any

import click
from click.core import ParameterSource

from harness.cli.options import json_option, plugin_options


@click.command()
@click.option(
    "--batch-invariance",
    is_flag=True,
    help="Measure the largest score difference and the label flips between batch plans.",
)
@click.option("-m", "--model", default="sample", show_default=True, help="Model for --batch-invariance.")
@click.option(
    "-t", "--tasks", default="xnli,panx,xquad", show_default=True, help="Tasks for --batch-invariance."
)
@click.option("--data", default="sample", show_default=True, metavar="hub|sample|DIR|DIR+hub")
@click.option("-L", "--limit", type=int, default=100, show_default=True, help="Items per task.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
)
@click.option("--offline", is_flag=True, help="Ask no network; read only what is cached.")
@plugin_options
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    batch_invariance: bool,
    plugins: tuple[str, ...],
    no_plugins: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show versions, devices, cache and plugins; with --batch-invariance also how steady scores are.

    A model without a head gets a freshly initialised one: only differences between batch plans are looked at.
    """
    from harness import doctor
    from harness.errors import UsageError
    from harness.registry import load_catalog

    unused = [name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if unused and not batch_invariance:
        raise UsageError(f"--{unused[0]} goes with --batch-invariance only")

    catalog = load_catalog(plugins, others=not no_plugins)
    value: dict[str, Any] = {"environment": doctor.environment(catalog)}
    if batch_invariance:
        tasks = [name.strip() for name in options.pop("tasks").split(",") if name.strip()]
        value["batch_invariance"] = doctor.steadiness(catalog, tasks=tasks, **options)
    if as_json:
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return
    _print(value)


def _print(value: dict[str, Any]) -> None:
    for name, found in value["environment"].items():
        if name == "plugins":
            failed = [entry for entry in found if entry["status"] == "failed"]
            click.echo(f"{name:<12} {len(found) - len(failed)} loaded, {len(failed)} set aside")
            for entry in failed:
                click.echo(f"{'':<12} {entry['name']}: {entry['error']}")
        elif isinstance(found, dict):
            click.echo(f"{name:<12} {', '.join(f'{key} {inner}' for key, inner in found.items())}")
        else:
            click.echo(f"{name:<12} {', '.join(found) or 'none' if isinstance(found, list) else found}")
    for row in value.get("batch_invariance", ()):
        click.echo(
            f"{row['task']}/{row['language']}: batches of {row['batch_tokens']} tokens, "
            f"{'without padding' if row['packed'] else 'padded'}, against single rows: largest score "
            f"difference {row['largest']:.2e}, {row['flips']} of {row['compared']} labels flip"
        )
