"""The student project's chain at a light width: DnCNN, U-Net, EDSR to twice the size, unsharp.

Source: HANKSOONG/image-repair-and-restoration (MIT), its README of January 2024. Every network is
trained from what the ones before it give to the sharp picture; the last step is Pillow's
`UnsharpMask(radius=2, percent=150, threshold=3)`. Later its authors gave the chain up: one network
did better (docs/chains.md).

Here the pictures are the embedded ones, half as large, out of focus and noisy; the project takes
GoPro's frames at half size. Each link has the quick recipe of its paper, five minutes on two cores.
"""

from restore_tf.experiments.chain_recipe import ChainRecipe, Link

CHAIN = ChainRecipe(
    summary="half-size pictures, out of focus and noisy, to sharp ones of twice the size",
    dataset="synthetic",
    links=(
        Link("dncnn_color", "quick", "repair"),
        Link("unet", "quick", "repair"),
        Link("edsr", "quick", "repair2"),
        "unsharp:2:1.5:3",  # project
    ),
)
