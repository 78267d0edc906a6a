"""TFDS builder of the Blur dataset; which files make a pair is decided in layout.py."""

from __future__ import annotations

import tensorflow_datasets as tfds

from restore_tf.datasets.blur_dataset import layout
from restore_tf.datasets.pair_builder import PairBuilder


class Builder(PairBuilder):
    """Pairs of the Blur dataset (kwentar): not aligned, see README.md."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    LAYOUT = layout
    HOMEPAGE = "https://www.kaggle.com/datasets/kwentar/blur-dataset"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="motion", description="Blurred by motion."),
        tfds.core.BuilderConfig(name="defocus", description="Out of focus."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the archive by hand (README.md says where), unpack it and give the folder that"
        " holds sharp/, motion_blurred/ and defocused_blurred/ as manual_dir."
    )
