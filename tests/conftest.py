"""Two virtual devices for the whole suite, so that strategies run on any machine.

The files that take longest come first: several processes then end together.
"""

import os

# As train.py has it: processes that tests start must round as this one does.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from restore_tf.system import quiet  # noqa: E402

quiet.declare_own_process()  # TensorFlow is imported in half the time
quiet.import_tensorflow()
import tensorflow as tf  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

LONGEST = (
    "pages_test.py",
    "conformance_export_test.py",
    "commands_test.py",
    "backends_test.py",
    "notebook_test.py",
)


def pytest_collection_modifyitems(items):
    """Puts the files of `LONGEST` first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
