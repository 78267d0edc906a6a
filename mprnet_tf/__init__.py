"""MPRNet (Zamir et al., CVPR 2021): model, recipes and published weights.

`from mprnet_tf import MPRNet` imports Keras, this package alone does not.
"""

__all__ = ["MPRNet"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mprnet_tf.model import MPRNet

    return MPRNet


def __dir__():
    return [*globals(), *__all__]
