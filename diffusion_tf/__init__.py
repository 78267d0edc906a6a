"""Predict and refine by diffusion (after Whang et al., CVPR 2022): model, recipes and sampler.

`from diffusion_tf import Diffusion` imports Keras, this package alone does not.
"""

__all__ = ["Diffusion"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from diffusion_tf.model import Diffusion

    return Diffusion


def __dir__():
    return [*globals(), *__all__]
