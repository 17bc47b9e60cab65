"""Freed memory that is kept: counted in pages that a process must fetch, and left alone where the environment has chosen."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Outputs of a layer and of its activation, 28 MB each, taken and freed as a pass does.
PROGRAM = """
import resource, torch
from harness.engine.freed import keep_freed
kept = keep_freed()

def turn():
    torch.nn.functional.gelu(torch.ones(2304, 3072))

for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    turn()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def _told(**chosen: str) -> tuple[bool, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env={**environment, **chosen},
    )
    kept, pages = done.stdout.split()
    return kept == "True", int(pages)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc, whose setting this is")
def test_the_blocks_of_a_pass_are_not_fetched_anew() -> None:
    kept, pages = _told()
    assert kept
    # Ten turns have 138,240 pages.
    assert pages < 30_000


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc, whose setting this is")
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_the_environment_has_chosen_stays(name: str) -> None:
    kept, pages = _told(**{name: str(64 * 2**10)})
    assert not kept
    assert pages > 100_000
