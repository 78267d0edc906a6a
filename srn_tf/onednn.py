"""The effect of oneDNN's CPU kernels on trainings of SRN.

`train.py` reads this before it imports TensorFlow, which reads its switch once. So nothing is
imported here.
"""

# With AVX2 alone a step takes 0.46 to 0.8 of the time with oneDNN's kernels (docs/benchmarks.md).
# But a 5x5 convolution of 64 channels on 360x640 positions, which a validation on a frame of
# 720x1280 runs at the full width, then takes minutes; `tiny`, whose features are half the size, has
# none.
FASTER_RECIPES = ("quick", "tiny")  # whatever the pictures
SYNTHETIC_RECIPES = ("quick", "tiny", "light")  # by default on synthetic pictures, 256x256 at most
