"""The published widths, once: exported as SavedModel and TFLite, and found equal."""

import keras
import pytest

from restore_tf.experiments import experiment
from restore_tf.export import checked, samples
from restore_tf.export.tflite import make
from restore_tf.weights.load import load_model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "recipe", "parameters"),
    [("srn", "gopro", 8_061_411), ("srn", "quick", 371_227), ("mprnet", "gopro", 20_127_073)],
)
def test_full_width_exports(model, recipe, parameters, tmp_path):
    keras.utils.set_random_seed(0)
    made = experiment.load_recipe(model, recipe)
    experiment.write(tmp_path / "run", made, {})
    drawn = experiment.build(made)
    if model == "srn":
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
