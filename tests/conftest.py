"""Two virtual devices for the whole suite, so that strategies run on any machine."""

import os

# As train.py has it: processes that tests start must round as this one does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
