"""The flags about pixels: what --tile costs is said beforehand."""

import logging
import types

import keras
import pytest
from absl import flags

from restore_tf.commands.flags import pixels
from restore_tf.networks.reach import reach
from restore_tf.networks.tiler import BlendedTile, FiniteReach


def exact():
    """A network that sees 12 pixels far: two convolutions of 5x5 around two strides of 2."""
    layers = keras.layers
    path = [
        layers.Conv2D(1, 5),  # 2 pixels
        layers.Conv2D(1, 5, strides=2),  # 2 more
        layers.Conv2D(1, 5),  # 2, of 2 pixels each
        layers.Conv2DTranspose(1, 4, strides=2),  # 2
        layers.Conv2D(1, 5),  # 2
    ]
    network = types.SimpleNamespace(size=None, name="SRN", size_multiple=2, output_scale=1)
    tiler = FiniteReach(network, reach(path))
    network.tiler = lambda: tiler
    return network


def say(model, caplog, *words):
    values = flags.FlagValues()
    pixels.define(values)
    values(["restore.py", *words])
    caplog.clear()
    caplog.set_level(logging.INFO, "restore_tf")
    pixels.make(model, values)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("tile", "level", "words"),
    [
        (24, "WARNING", "so larger pictures cannot be restored; "),
        (30, "WARNING", "so larger pictures take 25 times as long as whole; "),
        (36, "INFO", "so larger pictures take 9 times as long as whole; "),
        (120, "INFO", "so larger pictures take 1.56 times as long as whole; "),
    ],
)
def test_what_exact_tiles_cost(caplog, tile, level, words):
    ((found, message),) = say(exact(), caplog, "--tile", str(tile))
    assert found == level
    assert message == (
        f"--tile {tile}: SRN needs 12 pixels around each tile's result, {words}the smallest useful "
        "value is 36, at 9 times."
    )


def test_small_blended_tiles_are_warned_of(caplog):
    model = types.SimpleNamespace(
        size=None, name="MPRNet", tiler=lambda: None, blended_tile=BlendedTile()
    )
    ((level, message),) = say(model, caplog, "--tile", "128")
    assert level == "WARNING"
    assert message.endswith("the smallest useful value is 256.")
    assert say(model, caplog, "--tile", "256") == say(model, caplog) == []
    assert say(exact(), caplog) == []
