"""A checkpoint that brings its own code is refused; the code never runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_code_in_a_checkpoint_folder_is_never_run(
    cli: Callable[..., Any], sample_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(sample_model, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["model_type"] = "foreign"
    config["auto_map"] = {"AutoConfig": "conf.ForeignConfig", "AutoModel": "conf.ForeignModel"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "conf.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n", encoding="utf-8")
    told = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert told.code == 2
    assert "cannot be opened" in told.complaint
    assert not (tmp_path / "ran").exists()
