"""The effect of oneDNN's CPU kernels on trainings of MPRNet.

`train.py` reads this before it imports TensorFlow, which reads its switch once. So nothing is
imported here.
"""

# With AVX2 alone a step of these takes 0.5 to 0.85 of the time with oneDNN's kernels. The others,
# whose 3x3 convolutions have 80 and more channels, take 1.2 to 1.5 times as long.
FASTER_RECIPES = ("quick", "rain13k")
