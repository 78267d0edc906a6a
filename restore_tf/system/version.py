"""The installed version; setup.py states it."""

from __future__ import annotations

import importlib.metadata

PACKAGE = "restore_tf"


def version() -> str:
    """Returns the version, or "(not installed)" for a checkout that is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
