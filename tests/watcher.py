"""A script: opens every file that appears below the folders it is given, again and again, until its input ends.

What it cannot read as what its name says is printed, one line each, and at last the number of files that it read. A file
that is gone again is no fault; nor is a name that begins with a dot, which belongs to whoever writes it.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pyarrow import parquet
from safetensors.numpy import load


def main(folders: list[Path]) -> None:
    """Watch until standard input is closed."""
    seen: set[tuple[str, int, int]] = set()
    while True:
        over = bool(select.select([sys.stdin], [], [], 0.005)[0])
        for folder in folders:
            for path in visible(folder):
                try:
                    state = path.stat()
                    key = (str(path), state.st_ino, state.st_mtime_ns)
                    if key not in seen:
                        check(path)
                        seen.add(key)
                except FileNotFoundError:
                    continue
                # Whatever a reader raises is what this is about.
                except Exception as error:  # noqa: BLE001
                    print(f"{path}: {type(error).__name__}: {error}", flush=True)
        if over:
            print(len(seen), flush=True)
            return


def visible(folder: Path) -> Iterator[Path]:
    """Files below a folder whose names, and those of the folders that they are in, do not begin with a dot."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root) / name for name in names if not name.startswith("."))


def check(path: Path) -> None:
    """Read a file whole; raises what its reader raises."""
    data = path.read_bytes()
    match path.suffix:
        case ".parquet":
            parquet.read_table(io.BytesIO(data))
        case ".safetensors":
            load(data)
        case ".npy":
            np.load(io.BytesIO(data))
        case ".json":
            json.loads(data)
        case ".jsonl":
            assert not data or data.endswith(b"\n")
            for line in data.splitlines():
                json.loads(line)
        case ".html":
            assert data.rstrip().endswith(b"</html>")
        case ".md" | ".csv":
            assert data.endswith(b"\n")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
