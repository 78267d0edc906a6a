"""TFDS builder of RealBlur; which files make a pair is decided in layout.py."""

from __future__ import annotations

import tensorflow_datasets as tfds

from restore_tf.datasets.pair_builder import PairBuilder
from restore_tf.datasets.realblur import layout


class Builder(PairBuilder):
    """RealBlur pairs, from the camera's JPEGs (`j`) or from raw (`r`)."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    LAYOUT = layout
    HOMEPAGE = "https://github.com/rimchang/RealBlur"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="j", description="From the camera's JPEG pictures."),
        tfds.core.BuilderConfig(name="r", description="From raw pictures."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download RealBlur.tar.gz by hand (README.md says where), unpack it and give the folder"
        " that holds the list files as manual_dir."
    )
