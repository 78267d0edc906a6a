"""TFDS builder of HIDE; which files make a pair is decided in layout.py."""

from __future__ import annotations

import tensorflow_datasets as tfds

from restore_tf.datasets.hide import layout
from restore_tf.datasets.pair_builder import PairBuilder


class Builder(PairBuilder):
    """HIDE's test pairs."""

    # TFDS would derive it from the module name, and that fails in a checkout (see the bridge
    # restore_tf/datasets/__init__.py).
    pkg_dir_path = tfds.core.Path(__file__).parent

    LAYOUT = layout
    HOMEPAGE = "https://github.com/joanshen0508/HA_deblur"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="blur", description="Averages of 11 frames; test only."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download HIDE_dataset.zip by hand (README.md says where), unpack it and give the folder"
        " that holds test/ and GT/ as manual_dir."
    )
