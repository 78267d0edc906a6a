"""Every recipe of every paper, in a tiny form, through what all of them must do."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from mprnet_tf import recipes as mprnet
from restore_tf import experiment, inference, losses, training
from restore_tf.datasets.augmentation import AUGMENTATIONS
from srn_tf import recipes as srn

# Constructor arguments that make each paper's network tiny.
TINY = {
    "srn": {"width": 4, "res_blocks": 1, "scales": 2},
    "mprnet": {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 1},
}
PAPERS = {"srn": srn, "mprnet": mprnet}
CASES = [
    (model, recipe)
    for paper in PAPERS.values()
    for model in paper.VARIANTS
    for recipe in paper.RECIPES
]


def tiny(model, recipe):
    full = experiment.load_recipe(model, recipe)
    network = {**full.network, **TINY[model.split("_")[0]]}
    return dataclasses.replace(full, network=network, batch=2, steps=2)


@pytest.fixture(params=CASES, ids="/".join)
def recipe(request):
    return tiny(*request.param)


def images(model, height=32, width=32, count=2):
    return np.random.default_rng(0).random((count, height, width, model.channels), np.float32)


def test_the_recipe_names_things_that_exist(recipe):
    losses.get(recipe.loss)
    assert set(recipe.augment) <= set(AUGMENTATIONS)
    assert recipe.crop % experiment.build(recipe).size_multiple == 0


def test_stages_end_at_full_size(recipe):
    model = experiment.build(recipe)
    stages = model(images(model, 32, 48))
    assert stages[-1].shape == (2, 32, 48, model.channels)
    assert all(np.all(np.isfinite(stage)) for stage in stages)


@pytest.mark.parametrize("size", [(1, 1), (5, 33), (31, 16)])
def test_any_size_through_restore(recipe, size):
    model = experiment.build(recipe)
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    restored = inference.restore(model, picture)
    assert restored.shape == picture.shape
    assert restored.dtype == np.uint8


def test_symbolic_sizes(recipe):
    model = experiment.build(recipe)
    outputs = model(keras.Input((None, None, model.channels)))
    assert outputs[-1].shape == (None, None, None, model.channels)


def test_weights_survive_saving(recipe, tmp_path):
    model, twin = experiment.build(recipe), experiment.build(recipe)
    model.save_weights(tmp_path / "a.weights.h5")
    twin.load_weights(tmp_path / "a.weights.h5")
    batch = images(model)
    np.testing.assert_array_equal(model(batch)[-1], twin(batch)[-1])


def test_one_training_step(recipe):
    train_one_step(recipe, training.make_strategy("one"))


@pytest.mark.parametrize("paper", PAPERS)
def test_one_training_step_on_two_replicas(paper):
    model, recipe = (next(iter(names)) for names in (PAPERS[paper].VARIANTS, PAPERS[paper].RECIPES))
    train_one_step(tiny(model, recipe), training.make_strategy("mirrored"))


def train_one_step(recipe, strategy):
    with strategy.scope():
        model = experiment.build(recipe)
        optimizer = keras.optimizers.Adam(1e-3)
        optimizer.build(model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    batch = images(model)
    dataset = tf.data.Dataset.from_tensors((batch, 1 - batch))
    step = training.make_step(recipe, strategy, model, optimizer)
    loss = next(step(batch) for batch in strategy.experimental_distribute_dataset(dataset))
    assert np.isfinite(float(loss))
    moved = [
        np.any(v.numpy() != old) for v, old in zip(model.trainable_variables, before, strict=True)
    ]
    # A network that starts as the identity moves its last layer first.
    assert all(moved) or (recipe.network.get("global_skip") and any(moved))
