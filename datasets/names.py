"""The names of the data sets and of their configurations."""

from __future__ import annotations

import importlib

from restore_tf.errors import UserError

# Data sets read from their published folder layout: datasets/<name>/layout.py.
FOLDER_LAYOUTS = ("gopro", "reds", "hide", "realblur", "blur_dataset")
NAMES = (*FOLDER_LAYOUTS, "folder", "synthetic")


def layout(name: str):
    """Imports the module of a set's published folder layout.

    Args:
      name: one of `FOLDER_LAYOUTS`.

    Raises:
      UserError: no such data set.
    """
    if name not in FOLDER_LAYOUTS:
        raise UserError(f"--dataset {name}: no such data set; there are {', '.join(NAMES)}.")
    return importlib.import_module(f"restore_tf.datasets.{name}.layout")


def default_config(name: str) -> str:
    """Returns a data set's default configuration.

    Args:
      name: one of `NAMES`.

    Raises:
      UserError: no such data set.
    """
    return "pairs" if name == "folder" else _configs(name)[0]


def config_of(name: str, config: str | None) -> str:
    """Returns a configuration as the data set spells it: realblur's "J" is "j".

    An unknown one is returned as it is. For "folder" any word is valid and serves to distinguish
    several folders.

    Args:
      name: one of `NAMES`.
      config: its configuration; None for the default.

    Raises:
      UserError: no such data set.
    """
    if config is None:
        return default_config(name)
    known = {known.lower(): known for known in ((config,) if name == "folder" else _configs(name))}
    return known.get(config.lower(), config)


def _configs(name):
    if name == "synthetic":
        from restore_tf.datasets.synthetic import CONFIGS

        return CONFIGS
    return layout(name).CONFIGS
