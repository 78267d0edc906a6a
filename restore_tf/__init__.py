"""Image restoration in TensorFlow/Keras: what the papers' packages share, and the public API.

    model = restore_tf.load_model("runs/srn_quick")
    sharp = restore_tf.restore(model, blurry)          # one uint8 or float picture of any size
    restore_tf.evaluation.metrics.psnr(reference, sharp)

Importing this imports neither TensorFlow nor Keras; using it does.
"""

import importlib
import importlib.metadata

_HOMES = {
    "load_model": "weights.load",
    "restore": "inference.restore",
    "metrics": "evaluation.metrics",
}

__all__ = ["load_model", "metrics", "restore"]


def __getattr__(name):
    if name == "__version__":
        return importlib.metadata.version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return home if name == "metrics" else getattr(home, name)


def __dir__():
    return [*globals(), *__all__]
