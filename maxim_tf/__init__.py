"""MAXIM (Tu et al., CVPR 2022): model, recipes, converter of the published weights.

`from maxim_tf import MAXIM` imports Keras, this package alone does not.
"""

__all__ = ["MAXIM"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maxim_tf.model import MAXIM

    return MAXIM


def __dir__():
    return [*globals(), *__all__]
