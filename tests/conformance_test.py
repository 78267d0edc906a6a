"""Every recipe of every paper, in a tiny form, through what all of them must do."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from deblurgan_tf import recipes as deblurgan
from maxim_tf import recipes as maxim
from mprnet_tf import recipes as mprnet
from restore_tf.datasets.augmentation import AUGMENTATIONS
from restore_tf.experiments import experiment
from restore_tf.export import fresh_process, samples, saved_model
from restore_tf.export.tflite import make
from restore_tf.inference import restore
from restore_tf.inference.tflite_model import LiteModel
from restore_tf.networks import losses
from restore_tf.training import strategies
from restore_tf.training.state import State
from restore_tf.training.step import make_step
from restore_tf.weights.load import load_model
from srn_tf import recipes as srn

# Constructor arguments that make each paper's network tiny, or that of one of its models.
TINY = {
    "srn": {"width": 4, "res_blocks": 1, "scales": 2},
    "mprnet": {
        "n_feat": 8,
        "scale_unetfeats": 4,
        "scale_orsnetfeats": 4,
        "num_cab": 1,
        "reduction": 1,
    },
    "maxim": {
        "features": 4,
        "num_stages": 1,  # TensorFlow takes half a minute to trace a training step of two
        "num_groups": 1,
        "num_bottleneck_blocks": 1,
        "block_size_hr": 4,
        "block_size_lr": 2,
    },
    "deblurgan": {"stem": 4, "channels": (4, 4, 4, 4, 4, 4), "pyramid": 4, "heads": 4},
    "deblurgan_resnet": {"width": 4, "blocks": 1, "dropout": 0.5},
    "deblurgan_seed": {"width": 4, "blocks": 2},
}
PAPERS = {"srn": srn, "mprnet": mprnet, "maxim": maxim, "deblurgan": deblurgan}
CASES = [
    (model, recipe)
    for paper in PAPERS.values()
    for model in paper.VARIANTS
    for recipe in paper.RECIPES
]


def tiny(model, recipe):
    full = experiment.load_recipe(model, recipe)
    network = {**full.network, **TINY.get(model, TINY[model.split("_")[0]])}
    return dataclasses.replace(full, network=network, batch=2, steps=2)


def first(paper):
    """A paper's first variant and recipe: its own training."""
    return tiny(*(next(iter(names)) for names in (PAPERS[paper].VARIANTS, PAPERS[paper].RECIPES)))


@pytest.fixture(params=CASES, ids="/".join)
def recipe(request):
    return tiny(*request.param)


def distinct():
    """The first recipe of every tiny network: recipes that differ in training alone count once."""
    seen = {}
    for case in CASES:
        made = tiny(*case)
        paper = made.model.split("_")[0]  # variants whose tiny networks are one count once, too
        seen.setdefault(repr((paper, sorted(made.network.items()))), case)
    return list(seen.values())


@pytest.fixture(params=distinct(), ids="/".join)
def network(request):
    """A recipe that stands for its network."""
    return tiny(*request.param)


def distinct_steps():
    """The first recipe of every kind of training step: those that differ in data count once."""
    seen = {}
    for case in CASES:
        made = tiny(*case)
        network = sorted(made.network.items())
        clips = made.recurrent_clip_norm, made.global_clip_norm
        seen.setdefault(repr((made.model.split("_")[0], network, made.loss, clips)), case)
    return list(seen.values())


def images(model, height=32, width=32, count=2):
    return np.random.default_rng(0).random((count, height, width, model.channels), np.float32)


def test_the_recipe_names_things_that_exist(recipe):
    losses.get(recipe.loss)
    assert set(recipe.augment) <= set(AUGMENTATIONS)
    assert recipe.crop % size_multiple(recipe.model, **recipe.network) == 0


@functools.cache
def size_multiple(model, **network):
    """Of recipes that differ in training alone one is built."""
    recipe = dataclasses.replace(first(model.split("_")[0]), model=model, network=network)
    return experiment.build(recipe).size_multiple


def wide(multiple):
    """Sides of a picture that is not square."""
    return 32, 48 if 48 % multiple == 0 else 64


def test_stages_end_at_full_size(network):
    model = experiment.build(network)
    height, width = wide(model.size_multiple)
    stages = model(images(model, height, width))
    assert stages[-1].shape == (2, height, width, model.channels)
    assert all(np.all(np.isfinite(stage)) for stage in stages)


def test_any_size_through_restore(network):
    model = experiment.build(network)
    for size in [(1, 1), (5, 33), (31, 16)]:
        picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        restored = restore.restore(model, picture)
        assert restored.shape == picture.shape
        assert restored.dtype == np.uint8


def test_symbolic_sizes(network):
    model = experiment.build(network)
    outputs = model(keras.Input((None, None, model.channels)))
    assert outputs[-1].shape == (None, None, None, model.channels)


@pytest.mark.slow
def test_saved_model_in_a_fresh_process(network, tmp_path):
    model = experiment.build(network)
    saved_model.write(model, tmp_path / "1")
    batches = [images(model, 32, 48), images(model, 5, 33, count=1), images(model, 1, 1)]
    found, _ = fresh_process.run_saved_model(tmp_path / "1", batches)
    for batch, restored in zip(batches, found, strict=True):
        expected = [restore.restore(model, image) for image in batch]
        tolerance = 1e-5 * max(1, np.ptp(expected))  # untrained pictures may lie far from [0, 1]
        np.testing.assert_allclose(restored, expected, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_tflite_gives_keras_numbers(network, tmp_path):
    tflite(network, wide(size_multiple(network.model, **network.network)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_tflite_for_any_size(paper, tmp_path):
    path = tflite(first(paper), None, tmp_path)
    picture = np.random.default_rng(1).random((21, 45, 3), np.float32)
    expected = restore.restore(load_model(tmp_path / "run"), picture)
    np.testing.assert_allclose(restore.restore(LiteModel(path), picture), expected, atol=1e-4)


def tflite(network, size, folder):
    """Exports in float32; `lite.export` refuses a file whose numbers differ, with the reason."""
    experiment.write(folder / "run", network, {})
    experiment.build(network).save_weights(folder / "run" / "best.weights.h5")
    (row,) = make.export(
        folder / "run",
        {},
        folder / "tflite",
        sizes=[size],
        kinds=["float32"],
        samples=samples.load(count=2),
    )
    assert row["reason"] is None
    return folder / "tflite" / row["file"]


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_mixed_precision_keeps_images_in_float32(paper):
    recipe = first(paper)
    picture = np.random.default_rng(3).random((32, 48, 3)).astype(np.float32)
    full = experiment.build(recipe)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = experiment.build(recipe)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(full.get_weights())
    stages = mixed(images(mixed))
    assert all(stage.dtype == "float32" for stage in stages)
    expected, restored = (restore.restore(model, picture) for model in (full, mixed))
    error = np.sqrt(np.mean((restored - expected) ** 2)) / np.ptp(expected)
    assert 0 < error < 0.02


def test_weights_survive_saving(network, tmp_path):
    model, twin = experiment.build(network), experiment.build(network)
    model.save_weights(tmp_path / "a.weights.h5")
    twin.load_weights(tmp_path / "a.weights.h5")
    batch = images(model)
    np.testing.assert_array_equal(model(batch)[-1], twin(batch)[-1])


# Of every paper in the slow suite; MAXIM's step takes the longest to trace.
@pytest.mark.parametrize("paper", [paper for paper in PAPERS if paper != "maxim"])
def test_one_training_step(paper):
    train_one_step(first(paper), strategies.make_strategy("one"))


@pytest.mark.slow
@pytest.mark.parametrize("case", distinct_steps(), ids="/".join)
def test_one_training_step_of_every_kind(case):
    train_one_step(tiny(*case), strategies.make_strategy("one"))


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_one_training_step_on_two_replicas(paper):
    train_one_step(first(paper), strategies.make_strategy("mirrored"))


def train_one_step(recipe, strategy):
    recipe = dataclasses.replace(recipe, learning_rate=1e-3, schedule="constant", warmup_steps=0)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(recipe)
        state = State(recipe, model)
        model.compile(state.main.optimizer, recipe.loss)
    # Every variable is saved, under a name of its own.
    assert len(state.saved()["model"]) == len(model.variables)
    before = [v.numpy() for v in model.trainable_variables]
    side = max(32, 2 * model.size_multiple)  # a norm of a single pixel would pass no gradient
    batch = images(model, side, side)
    seeds = np.array([[0, 0], [0, 1]], np.int32)
    dataset = tf.data.Dataset.from_tensors((batch, 1 - batch, seeds))
    step = make_step(recipe, strategy, state)
    batches = iter(strategy.experimental_distribute_dataset(dataset))
    assert np.isfinite(step(next(batches))["loss"].numpy())
    pairs = zip(model.trainable_variables, before, strict=True)
    stuck = [v.path for v, old in pairs if np.array_equal(v.numpy(), old)]
    if recipe.network.get("global_skip"):  # starts as the identity: the last layer moves first
        assert len(stuck) < len(before)
    else:  # a channel attention may be born with all its ReLUs dead, nothing else
        assert [path for path in stuck if "attention/" not in path] == []
        assert len(stuck) < 0.1 * len(before)
