"""A published width, once: exported as SavedModel and TFLite, and found equal.

Of the other networks the counts of parameters at full width are tested with their papers, and the
exports in their tiny forms: `conformance_export_test.py`.
"""

import keras
import pytest

from restore_tf.experiments import experiment
from restore_tf.export import checked, samples
from restore_tf.export.tflite import make
from restore_tf.weights.load import load_model


@pytest.mark.slow
def test_full_width_exports(tmp_path):
    parameters = 8_061_411
    keras.utils.set_random_seed(0)
    made = experiment.load_recipe("srn", "gopro")
    experiment.write(tmp_path / "run", made, {})
    drawn = experiment.build(made)
    # Drawn weights give pictures from -2 to 16; the bound is for such as training gives.
    last = drawn.trainable_variables[-2]
    assert last.shape[-1] == 3
    last.assign(0.05 * last)
    drawn.save_weights(tmp_path / "run" / "best.weights.h5")
    network = load_model(tmp_path / "run")
    pictures = samples.load(count=2)
    entry = checked.export_saved_model(network, tmp_path / "out", pictures)
    assert entry["parameters"] == parameters
    (row,) = make.export(
        tmp_path / "run",
        {},
        tmp_path / "out",
        sizes=[(64, 64)],
        kinds=["float32"],
        samples=pictures,
    )
    assert row["written"], row["reason"]
    assert row["bytes"] > 4 * parameters
