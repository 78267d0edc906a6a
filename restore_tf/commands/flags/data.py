"""The flags that say which pairs a command works on."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues, default_text: str) -> None:
    """Defines --dataset, --config, --data_dir, --degraded_dir and --sharp_dir."""
    text = {
        "dataset": f"data set: gopro, reds, hide, realblur, blur_dataset, folder or synthetic; "
        f"{default_text} by default",
        "config": "the data set's configuration, e.g. blur or blur_gamma for gopro",
        "data_dir": "the data set's published folder layout, or a directory of prepared records; "
        "for synthetic, a folder of sharp photos to use in place of the embedded ones",
        "degraded_dir": "with --dataset folder: the degraded pictures",
        "sharp_dir": "with --dataset folder: the sharp pictures, of the same names",
    }
    for name, help_text in text.items():
        flags.DEFINE_string(name, None, help_text, flag_values=values)
