"""The student project's chain at a light width: DnCNN, U-Net, EDSR to twice the size, unsharp.

Source: HANKSOONG/image-repair-and-restoration (MIT), its README of January 2024. Every network is
trained on the results of those before it; the last step is Pillow's
`UnsharpMask(radius=2, percent=150, threshold=3)`. Later its authors abandoned the chain: one
network did better (docs/chains.md).

Here the pictures are the embedded ones, half as large, out of focus and noisy; the project takes
GoPro's frames at half size. Each link has the quick recipe of its paper for 2,000 steps: six
minutes on two busy cores, and a minute for what the links before it give.
"""

from restore_tf.experiments.chain_recipe import ChainRecipe, Link

_STEPS = ("steps=2000",)

CHAIN = ChainRecipe(
    summary="half-size pictures, out of focus and noisy, to sharp ones of twice the size",
    dataset="synthetic",
    links=(
        Link("dncnn_color", "quick", "repair", _STEPS),
        Link("unet", "quick", "repair", _STEPS),
        Link("edsr", "quick", "repair2", _STEPS),
        "unsharp:2:1.5:3",  # project
    ),
)
