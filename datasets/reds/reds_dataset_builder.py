"""TFDS builder of REDS; which files make a pair is decided in layout.py."""

from __future__ import annotations

import tensorflow_datasets as tfds

from restore_tf.datasets.pair_builder import PairBuilder
from restore_tf.datasets.reds import layout


class Builder(PairBuilder):
    """REDS pairs; `test` is the published val split."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    LAYOUT = layout
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/reds"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="blur", description="Frames averaged from 120 fps video."),
        tfds.core.BuilderConfig(
            name="blur_comp", description="The same blur, then MPEG compression."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download train_blur, train_sharp, val_blur and val_sharp (or the blur_comp ones) by hand"
        " (README.md says where), unpack all into one folder and give it as manual_dir."
    )
