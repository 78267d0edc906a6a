"""Small networks to compare with: SRCNN, DnCNN, U-Net, EDSR and plain convolutions, a file each.

`from baselines_tf import DnCNN` imports Keras, this package alone does not.
"""

import importlib

_MODULES = {
    "SRCNN": "srcnn",
    "DnCNN": "dncnn",
    "UNet": "unet",
    "EDSR": "edsr",
    "Plain": "plain",
}
__all__ = ["SRCNN", "DnCNN", "EDSR", "Plain", "UNet"]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"baselines_tf.{_MODULES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
