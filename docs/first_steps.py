# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First steps
#
# About five minutes on two CPU cores, without a download: blur a photo, restore it, look at it; fine-tune a network for a minute, evaluate it, export it for a phone. Needs `pip install 'restore_tf[edge]'`.
# The same as a script: `python first_steps.py`. Everything is written to the folder `first_steps`.

# %%
import os
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from scipy import ndimage

import restore_tf
from restore_tf.commands import cli

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow: errors alone
FOLDER = Path("first_steps")
FOLDER.mkdir(exist_ok=True)


def command(*words):
    """The same as `restore-tf WORDS` in a shell."""
    if cli.main(["restore-tf", *words]):
        raise SystemExit(f"restore-tf {words[0]} failed")


# %% [markdown]
# ## Blur a photo
#
# A camera that moved by nine pixels during the exposure, and some sensor noise.

# %%
sharp = skimage.data.coffee()[40:296, 150:406]  # (256, 256, 3) uint8
kernel = np.ones((1, 9, 1)) / 9
noise = np.random.default_rng(0).normal(0, 1, sharp.shape)
blurred = ndimage.convolve(sharp.astype(float), kernel, mode="nearest") + noise
degraded = np.clip(np.rint(blurred), 0, 255).astype(np.uint8)

# %% [markdown]
# ## Restore it
#
# `load_model()` takes the weights in the package: the first stage of MAXIM, trained on GoPro.

# %%
model = restore_tf.load_model()
restored = restore_tf.restore(model, degraded)
print(f"degraded {restore_tf.metrics.psnr(sharp, degraded):.2f} dB")
print(f"restored {restore_tf.metrics.psnr(sharp, restored):.2f} dB")

# %% [markdown]
# Left to right: degraded, restored, sharp.

# %%
side_by_side = Image.fromarray(np.hstack([degraded, restored, sharp]))
side_by_side.save(FOLDER / "restored.png")
side_by_side

# %% [markdown]
# ## Fine-tune for a minute
#
# DnCNN in the package was trained on noise of sigma 25. Photos with twice as much noise are beyond it:

# %%
noisy = ["--dataset=synthetic", "--config=noise50_gray", "--pictures=0", "--metrics=psnr,ssim"]
command("evaluate", "--weights=dncnn_gray_25", *noisy, f"--output={FOLDER}/before")

# %% [markdown]
# Sixty steps on embedded photos change that. An interrupted training goes on by the same command.

# %%
command(
    "train",
    "--model=dncnn",
    "--init_from=dncnn_gray_25",
    "--dataset=synthetic",
    "--config=noise50_gray",
    f"--workdir={FOLDER}/tuned",
    "--steps=60",
    "--set=batch=8",
    "--set=crop=48",
    "--set=learning_rate=1e-3",
    "--validate_every=30",
)

# %% [markdown]
# ## Evaluate it
#
# On photos that no training saw. `evaluate` writes the same numbers as CSV, JSON and a page.

# %%
command("evaluate", f"--workdir={FOLDER}/tuned", *noisy, f"--output={FOLDER}/after")

# %% [markdown]
# ## Export it
#
# A TFLite file for pieces of 128x128 pixels. It is compared with the network before it is put into place.

# %%
command(
    "export",
    f"--workdir={FOLDER}/tuned",
    f"--output={FOLDER}/exported",
    "--format=tflite",
    "--size=128x128",
    "--kinds=float16",
)
for path in sorted((FOLDER / "exported" / "tflite").glob("*.tflite")):
    print(path.name, f"{path.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# Next: [your own photos](restoring.md), [training](training.md), [GoPro from download to numbers](gopro.md), [devices](devices.md).
