"""DeblurGAN and DeblurGAN-v2 (Kupyn et al., 2018, 2019): model, recipes and published weights.

`from deblurgan_tf import DeblurGANv2` imports Keras, this package alone does not.
"""

__all__ = ["DeblurGAN", "DeblurGANv2", "SeedGAN"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deblurgan_tf import model

    return getattr(model, name)


def __dir__():
    return [*globals(), *__all__]
