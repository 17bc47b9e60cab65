"""The command ``harness``: finds the sub-command, and turns errors into one line and an exit code.

Knows the names of sub-commands and loads only the one that is asked for.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from harness.errors import HarnessError
from harness.place import Ended, Interrupted, LostRank, is_first
from harness.signals import interrupted_by
from harness.version import __version__

_COMMANDS = {
    "eval": ("harness.cli.evaluate", "Evaluate a model on tasks, in every language."),
    "train": ("harness.cli.train", "Train a model on intermediate tasks, at once or one after the other."),
    "run": ("harness.cli.run", "Carry out an experiment: models, intermediate training, targets, seeds."),
    "leakage": (
        "harness.cli.leakage",
        "Look for evaluated texts in what a checkpoint learned; exit code 1 if there are any.",
    ),
    "lineage": ("harness.cli.lineage", "Show how a checkpoint came about."),
    "tasks": ("harness.cli.tasks", "List tasks, or show one."),
    "plugins": ("harness.cli.plugins", "List plugins and how loading them went."),
    "data": ("harness.cli.data", "Fetch, verify and pack data sets."),
    "score": ("harness.cli.score", "Score a benchmark's submission folder, without a model."),
    "export": ("harness.cli.export", "Write a run as a benchmark's submission folder."),
    "gate": ("harness.cli.gate", "Compare a run with a baseline; exit code 1 on a regression."),
    "doctor": ("harness.cli.doctor", "Show what this machine can do, and how steady scores are on it."),
    "report": ("harness.cli.report", "Show a finished run again, and rewrite its report."),
}
INTERNAL_ERROR = 70
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, and whose help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the sub-commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one sub-command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in ``--help``, from their one-line descriptions here."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, description) for name, (_, description) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": "HARNESS",
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 110,
    },
)
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def harness(debug: bool) -> None:
    """Evaluate how well multilingual encoders transfer from English to other languages.

    Exit codes: 0 done; 1 found what was looked for: a regression (gate), leaked texts (leakage); 2 bad usage, input or
    environment; 3 some units failed, the others are written; 4 gate or leakage cannot decide; 5 nothing selected; 70 a
    defect of the harness; 130 interrupted, the same command goes on. Every option is also an environment variable, e.g. HARNESS_EVAL_MODEL.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or os.environ.get("HARNESS_DEBUG", "") not in ("", "0")
    sys.exit(_run(arguments, debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        # What stops a job on a cluster or in a container is heeded as Ctrl-C is, so that a training's state is written.
        with interrupted_by(signal.SIGTERM):
            result: Any = harness.main(arguments, prog_name="harness", standalone_mode=False)
    except click.ClickException as error:
        if is_first():
            error.show()
        return error.exit_code
    except Ended as ended:
        return ended.code
    except (
        SystemExit
    ):  # click's way to say that nobody reads standard output any more; no regression was found
        return 0
    # A defect of ours too is still one line, unless --debug.
    except (Exception, KeyboardInterrupt, LostRank) as error:  # noqa: BLE001
        code, text = verdict_on(error)
        if debug:
            import traceback

            traceback.print_exception(error)
        click.echo(f"harness: {' '.join(text.split())}", err=True)
        return code
    return result if isinstance(result, int) else 0


def verdict_on(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and what is printed of it."""
    if isinstance(error, HarnessError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt | click.Abort | Interrupted):
        return INTERRUPTED, "interrupted; the same command goes on from here"
    if isinstance(error, LostRank):
        return HarnessError.exit_code, str(error)
    if isinstance(error, PermissionError) and error.filename is not None:
        told = f"{error.filename}: not to be read or written ({error.strerror}); change its permissions, or give another path"
        return HarnessError.exit_code, told
    if isinstance(error, OSError):
        from harness import files

        if error.errno in files.FULL:
            where = error.filename or "standard output or a temporary file"
            return HarnessError.exit_code, str(files.output_error(where, error))
    text = f"internal error, please report it (--debug shows more): {type(error).__name__}: {error}"
    return INTERNAL_ERROR, text
