"""The job summary of GitHub Actions. Knows Markdown goes there and nothing of what it says."""

from __future__ import annotations

import os
from pathlib import Path

import click


def append_summary(markdown: str) -> None:
    """Append to the job summary where GitHub Actions offers one; a summary that cannot be written is told, no more."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(markdown)
    except OSError as error:
        click.echo(f"harness: the job summary {summary} cannot be written ({error.strerror})", err=True)
