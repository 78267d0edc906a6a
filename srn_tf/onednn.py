"""The effect of oneDNN's CPU kernels on trainings of SRN.

`train.py` reads this before it imports TensorFlow, which reads its switch once. So nothing is
imported here.
"""

# With AVX2 alone a step of every recipe takes 0.5 to 0.75 of the time with oneDNN's kernels. But
# its 5x5 convolution of 64 channels on 360x640 positions, which a validation on a whole frame of
# 720x1280 runs at the full width, takes more than ten times as long.
FASTER_RECIPES = ("quick", "tiny")  # narrow ones, whatever the pictures
# All are faster on synthetic pictures, 256x256 at most; these take them by default.
SYNTHETIC_RECIPES = ("quick", "tiny", "light")
