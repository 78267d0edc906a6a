"""Predict and refine: numbers of the sampling, tiles, the loss, a predictor of another paper."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from scipy.stats import pearsonr

from diffusion_tf import Diffusion, schedule
from diffusion_tf.model import TOY, VARIANTS
from restore_tf.experiments import experiment
from restore_tf.inference.restore import restore
from restore_tf.networks import noise

PARITY = Path(__file__).parents[1] / "parity"


@pytest.fixture(scope="module")
def known():
    with np.load(PARITY / "diffusion_io.npz") as file:
        return dict(file)


def toy(**changes):
    model = Diffusion(**{**TOY, "steps": 3, **changes})
    model.build()
    random = np.random.default_rng(0)
    for variable in model.variables:  # the last layers start at zero
        variable.assign(random.normal(0, 0.07, variable.shape))
    return model


def images(height=96, width=112, count=1):
    return np.random.default_rng(1).random((count, height, width, 3), np.float32)


def test_schedules(known):
    time = known["t"]
    np.testing.assert_allclose(
        schedule.cosine_level(time, 0, 1), known["cosine_alpha_bar"], atol=1e-10
    )
    clipped = schedule.cosine_level(time)
    np.testing.assert_allclose(clipped, known["cosine_alpha_bar_clipped"], atol=1e-10)
    levels = schedule.linear_levels()[known["linear_index"]]
    np.testing.assert_allclose(levels, known["linear_gamma"], atol=1e-10)
    float32 = schedule.cosine_level(ops.convert_to_tensor(time.astype(np.float32)))
    np.testing.assert_allclose(float32, known["cosine_alpha_bar_clipped"], atol=1e-5)


def test_velocity_stands_for_target_and_noise(known):
    level = float(schedule.cosine_level(0.6))
    target, drawn = known["x0_at_0.6"], known["eps_at_0.6"]
    velocity = schedule.velocity(target, drawn, level)
    np.testing.assert_allclose(velocity, known["v_at_0.6"], atol=1e-10)
    np.testing.assert_allclose(
        schedule.target_of(known["x_T"], velocity, level), target, atol=1e-10
    )
    np.testing.assert_allclose(schedule.noise_of(known["x_T"], velocity, level), drawn, atol=1e-10)


@pytest.mark.parametrize("eta, name", [(0.0, "step_eta0"), (1.0, "step_eta1")])
def test_one_step(known, eta, name):
    levels = [float(schedule.cosine_level(time)) for time in (0.6, 0.5)]
    given = known["x0_at_0.6"], known["eps_at_0.6"]
    found = schedule.step(*given, *levels, eta, known["z"])
    np.testing.assert_allclose(found, known[name], atol=1e-10)


@pytest.mark.parametrize("steps", [1, 5, 10, 50, 200])
def test_sampling_gaussian_data(known, steps):
    """The best denoiser of Gaussian data is known: the steps must end where they should."""
    mean, std, noisy = known["mu"], known["std"], known["x_T"]
    levels = schedule.sampling_levels(steps)
    for level, following in zip(levels, levels[1:], strict=False):
        gain = level**0.5 * std**2 / (level * std**2 + 1 - level)
        target = mean + gain * (noisy - level**0.5 * mean)
        drawn = (noisy - level**0.5 * target) / (1 - level) ** 0.5
        noisy = schedule.step(target, drawn, level, following)
    np.testing.assert_allclose(noisy, known[f"ddim_{steps}"], atol=1e-10)


@pytest.mark.parametrize(
    "arguments, predictor, denoiser",
    [
        (VARIANTS["diffusion"], 18_700_355, 6_192_419),
        (VARIANTS["diffusion_light"], 4_678_691, 282_691),
        (TOY, 35_491, 44_131),
    ],
)
def test_parameters(arguments, predictor, denoiser):
    model = Diffusion(**arguments)
    model.build()
    counts = model.predictor.count_params(), model.count_params()
    assert counts == (predictor, predictor + denoiser)
    early = Diffusion(**arguments, stages=1)
    early.build()
    assert early.count_params() == predictor


def test_untrained_it_returns_its_input_and_noise():
    model = Diffusion(**TOY)
    model.build()
    predicted, restored = model(images(16, 16))
    np.testing.assert_array_equal(predicted, images(16, 16))
    assert 0.01 < float(np.std(np.asarray(restored - predicted))) < 0.2  # about residual_std


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"samples": 2, "eta": 1.0}, marks=pytest.mark.slow), {"stages": 1}],
)
def test_tiles_equal_the_whole_picture(options):
    model = toy(**options)
    picture = images()[0]
    whole = restore(model, picture, seed=5, whole=True)
    tiled = restore(model, picture, seed=5, tile=80)
    np.testing.assert_allclose(tiled, whole, atol=2e-6)
    if options.get("stages") != 1:
        other = restore(model, picture, seed=6, whole=True)
        assert np.abs(other - whole).max() > 1e-3


def test_pictures_of_a_batch_do_not_influence_each_other():
    model = toy()
    both = model.restore_padded(images(32, 32, count=2), seed=3)
    alone = model.restore_padded(images(32, 32, count=2)[1:], seed=3)
    np.testing.assert_allclose(both[1:], alone, atol=2e-6)


def test_one_noise_field_serves_a_whole_batch():
    """As a SavedModel restores: without a seed, and without places of tiles."""
    given = images(32, 32, count=2)
    found = toy().restore_batch(given)
    np.testing.assert_allclose(found, toy().restore_padded(given), atol=2e-6)
    assert noise.normal((2, 3, 4, 3), np.zeros(2, np.int32)).shape == (2, 3, 4, 3)


def test_many_evaluations_are_a_loop_of_the_graph():
    """Twelve evaluations are the mean of two samples of six, which are written out."""
    given = images(16, 16)
    together = toy(steps=6, samples=2)
    apart = toy(steps=6)
    predicted = apart.predict_first(given)
    zeros = np.zeros(2, np.int32), np.zeros((1, 2), np.int32)
    total = 0.0
    for sample in range(2):
        noisy = apart.start(given.shape, *zeros, sample)
        for number in range(6):
            levels = np.array(apart.levels()[number : number + 2], np.float32)
            noisy = apart.advance(given, predicted, noisy, levels, *zeros, 0)
        total = total + noisy
    expected = predicted + 0.05 * total / 2
    np.testing.assert_allclose(together(given)[-1], expected, atol=2e-6)


def test_the_loss_of_a_network_that_says_nothing_is_that_of_its_zero_output():
    """E|v|^2 is level + (1 - level) E|target|^2: 1 for a target of unit variance."""
    model = Diffusion(**TOY, residual_std=0.05)
    model.build()
    random = np.random.default_rng(2)
    degraded = random.random((32, 32, 32, 3), np.float32)
    residual = random.normal(0, 0.05, degraded.shape).astype(np.float32)
    seeds = np.array([[7, number] for number in range(32)], np.int32)
    loss = np.asarray(model.training_loss(degraded, degraded + residual, seeds))
    assert loss.shape == (32,)
    expected = 1.0 + np.mean(np.abs(residual), axis=(1, 2, 3))  # the predictor's L1 beside it
    np.testing.assert_allclose(loss, expected, rtol=0.1)
    again = np.asarray(model.training_loss(degraded[3:5], (degraded + residual)[3:5], seeds[3:5]))
    np.testing.assert_allclose(again, loss[3:5], rtol=1e-4)  # whatever the batch


def test_every_image_draws_its_own_level_and_noise():
    model = toy()
    degraded = np.repeat(images(16, 16), 8, axis=0)
    seeds = np.array([[0, number] for number in range(8)], np.int32)
    loss = np.asarray(model.training_loss(degraded, degraded * 0.9, seeds))
    assert len(set(loss.round(6))) == 8


def test_a_predictor_of_another_paper_is_frozen_and_tiled_its_own_way():
    small = experiment.load_recipe("srn", "quick")
    network = {**small.network, "width": 4, "res_blocks": 1, "scales": 1}
    recipe = experiment.load_recipe("diffusion", "quick")
    predictor = {"model": "srn", "network": network}
    recipe = dataclasses.replace(recipe, network={**TOY, "steps": 2, "predictor": predictor})
    model = experiment.build(recipe)
    assert {variable.path.split("/")[1] for variable in model.trainable_variables} == {"denoiser"}
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.normal(0, 0.07, variable.shape))
    picture = images(128, 192)[0]
    whole = restore(model, picture, whole=True)
    alone = experiment.build(dataclasses.replace(recipe, model="srn", network=network))
    alone.set_weights(model.predictor.get_weights())
    np.testing.assert_allclose(
        model(picture[None])[0], alone.restore_padded(picture[None]), atol=2e-6
    )
    tiled = restore(model, picture, tile=model.tiler().smallest)
    np.testing.assert_allclose(tiled, whole, atol=5e-6)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"stages": 3}, "expected 1"),
        ({"steps": 0}, "from 1 to 1000"),
        ({"samples": 2.5}, "from 1 to 1000"),
        ({"eta": 2}, "from 0"),
        ({"residual_std": 0}, "above 0"),
    ],
)
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ValueError, match=said):
        Diffusion(**{**TOY, **wrong})


def test_noise_is_drawn_anew_at_every_step_for_eta_alone():
    still, moving = toy(eta=0.0), toy(eta=1.0)
    given = images(32, 32)
    correlation = pearsonr(
        np.ravel(still(given)[-1] - still(given)[0]), np.ravel(moving(given)[-1] - moving(given)[0])
    ).statistic
    assert correlation < 0.999
