"""Jupyter's folders, also for a user without a home folder, for whom Jupyter itself gives an error."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def config_folders() -> list[Path]:
    """Give the folders of the configuration; earlier ones override later ones."""
    from jupyter_core.paths import ENV_CONFIG_PATH, SYSTEM_CONFIG_PATH, jupyter_config_path

    try:
        return [Path(folder) for folder in jupyter_config_path()]
    except RuntimeError:
        names = ("JUPYTER_CONFIG_PATH", "JUPYTER_CONFIG_DIR")
        named = [folder for name in names for folder in os.environ.get(name, "").split(os.pathsep) if folder]
        return [Path(folder) for folder in [*named, *ENV_CONFIG_PATH, *SYSTEM_CONFIG_PATH]]


def data_folder() -> Path:
    """Give the folder for all files of rucio_lab; it need not exist."""
    from jupyter_core.paths import jupyter_data_dir

    try:
        return Path(os.environ.get("JUPYTER_DATA_DIR") or jupyter_data_dir()) / "rucio-lab"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"rucio-lab-u{os.geteuid()}"
