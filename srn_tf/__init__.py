"""SRN-DeblurNet (Tao et al., CVPR 2018): model, recipes and published weights.

`from srn_tf import SRN` imports Keras, this package alone does not.
"""

__all__ = ["SRN"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srn_tf.model import SRN

    return SRN


def __dir__():
    return [*globals(), *__all__]
