"""What a training can be asked for, each under one device and two replicas."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import (
    assert_equal_weights,
    light,
    rows,
    run,
    simple,
    some_batch,
    stop_at,
    tiny,
    weights,
)

from restore_tf.datasets import pairs
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.training import strategies
from restore_tf.training.averages import WeightAverage
from restore_tf.training.options import Options
from restore_tf.training.phases import Phase, phases
from restore_tf.training.state import State
from restore_tf.training.step import make_step

BOTH = pytest.mark.parametrize(
    "strategy", ["one", pytest.param("mirrored", marks=pytest.mark.slow)]
)


class Weights(keras.callbacks.Callback):
    """Keeps the weights after every step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([v.numpy() for v in self.model.trainable_variables])


BATCHES = light(steps=3, batch=4, global_clip_norm=1e-2)


@pytest.fixture(scope="module")
def whole_batches(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    run(workdir, BATCHES)
    return workdir


@pytest.mark.slow
@BOTH
def test_micro_batches_equal_the_whole_batch(tmp_path, whole_batches, strategy):
    run(tmp_path, BATCHES, strategy=strategy, accumulate=2)
    # Adam's first steps magnify rounding where a gradient is tiny.
    assert_equal_weights(weights(whole_batches), weights(tmp_path), atol=2e-5)


@BOTH
def test_a_clipped_step_by_hand(strategy):
    """The gradient of the whole batch: recurrent weights clipped first, then all together."""
    strategy = strategies.make_strategy(strategy)
    # With the skip an untrained network's gradients are zero but for the last layer's.
    network = {**tiny().network, "global_skip": False}
    recipe = tiny(network=network, recurrent_clip_norm=1e-3, global_clip_norm=2e-3)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(recipe)
        state = State(recipe, model)
        # Plain descent shows the gradient itself: what is left is minus the clipped gradient.
        state.main.optimizer = keras.optimizers.SGD(1.0)
        state.main.optimizer.build(model.trainable_variables)
        model.compile(state.main.optimizer, recipe.loss)
    degraded, sharp, seeds = some_batch()
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        stages = model(degraded)
        loss = sum(
            tf.reduce_mean((stage - sharp[:, ::factor, ::factor]) ** 2)
            for stage, factor in zip(stages, (2, 1), strict=True)
        )
    gradients = [g.numpy() for g in tape.gradient(loss, variables)]
    recurrent = [i for i, v in enumerate(variables) if "conv_lstm" in v.path]
    for places, limit in [(recurrent, 1e-3), (range(len(gradients)), 2e-3)]:
        norm = np.sqrt(sum(np.sum(gradients[i] ** 2) for i in places))
        assert norm > limit
        for i in places:
            gradients[i] = gradients[i] * (limit / norm)
    before = [v.numpy() for v in variables]
    replicas = strategy.num_replicas_in_sync
    data = tf.data.Dataset.from_tensor_slices((degraded, sharp, seeds)).batch(2 // replicas)
    batches = iter(strategy.distribute_datasets_from_function(lambda context: data))
    losses = make_step(recipe, strategy, state)(next(batches))
    np.testing.assert_allclose(losses["loss"], loss, rtol=1e-5)
    for old, gradient, variable in zip(before, gradients, variables, strict=True):
        np.testing.assert_allclose(old - variable.numpy(), gradient, atol=2e-7)


@BOTH
def test_the_average_is_validated_and_the_weights_go_on(tmp_path, strategy):
    recipe = simple(steps=5, ema_momentum=0.4)
    kept = Weights()
    run(tmp_path, recipe, strategy=strategy, callbacks=[kept], validate_every=5)
    keras.utils.set_random_seed(0)
    average = [v.numpy() for v in experiment.build(recipe).trainable_variables]
    for step, seen in enumerate(kept.seen, 1):
        momentum = min(0.4, (1 + step) / (10 + step))
        average = [momentum * a + (1 - momentum) * w for a, w in zip(average, seen, strict=True)]
    assert_equal_weights(average, weights(tmp_path, "best"), atol=1e-6)
    assert_equal_weights(average, weights(tmp_path, "latest"), atol=1e-6)
    plain = tf.train.load_checkpoint(str(tmp_path / "checkpoints"))
    name = next(n for n in plain.get_variable_to_shape_map() if n.startswith("model/"))
    path = name.removeprefix("model/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    place = [
        v.path.partition("/")[2].replace("/", ".S") for v in kept.model.trainable_variables
    ].index(path)
    np.testing.assert_array_equal(plain.get_tensor(name), kept.seen[-1][place])


@pytest.mark.slow
@BOTH
def test_a_run_with_everything_resumes_exactly(tmp_path, strategy):
    tf.config.experimental.enable_op_determinism()
    recipe = light(
        network={**light().network, "filters": (16, 16)},  # a kernel between is Muon's
        optimizer="muon",
        steps=8,
        ema_momentum=0.9,
        schedule="constant",
        learning_rate=1e-4,
        plateau_patience=1,
        progressive=((0, 16, 2), (3, 24, 4)),
        global_clip_norm=0.1,
    )
    parts = 2 if strategy == "one" else 1  # the smaller batch is of two
    options = {"validate_every": 2, "precision": "mixed_bfloat16", "accumulate": parts}
    options["strategy"] = strategy
    run(tmp_path / "whole", recipe, **options)
    # The last ends within the second phase.
    for more, step in [(2, 2), (3, 5)] if strategy == "one" else [(5, 5)]:
        assert stop_at(tmp_path / "parts", more, recipe, **options).step == step
    run(tmp_path / "parts", recipe, **options)
    for which in ("latest", "best"):
        assert_equal_weights(weights(tmp_path / "whole", which), weights(tmp_path / "parts", which))
    whole, parts = (
        [row["psnr"] for row in rows(tmp_path / name) if row["psnr"]] for name in ("whole", "parts")
    )
    assert whole == parts


def test_progressive_patches():
    recipe = tiny(steps=10, crop=16, batch=4, progressive=[(4, 24, 2), (8, 32, 1)])
    assert phases(recipe) == [
        Phase(0, 4, 16, 4, 0),
        Phase(4, 8, 24, 2, 16),
        Phase(8, 10, 32, 1, 24),
    ]
    assert phases(recipe)[1].sample(6) == 20
    assert phases(dataclasses.replace(recipe, steps=4)) == [Phase(0, 4, 16, 4, 0)]
    from_start = dataclasses.replace(recipe, progressive=[[0, 24, 2]])
    assert phases(from_start) == [Phase(0, 10, 24, 2, 0)]


@pytest.mark.parametrize(
    "wrong", [[(1, 2)], [(5, 16, 2), (3, 16, 2)], ["a"], [(1, 0, 2)], [(1, 8.0, 2)]]
)
def test_wrong_progressive_patches(wrong):
    with pytest.raises(UserError, match="progressive"):
        phases(tiny(progressive=wrong))


@pytest.mark.slow
@BOTH
def test_progressive_crops_reach_the_network(tmp_path, strategy):
    seen = []
    original = pairs.training_batches

    def spy(*args, **kwargs):
        seen.append((kwargs["crop"], kwargs["batch"], kwargs["first_sample"]))
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "training_batches", spy)
        run(tmp_path, simple(steps=4, progressive=((2, 24, 4),)), strategy=strategy)
    assert seen == [(16, 2, 0), (24, 4, 4)]


@pytest.fixture(scope="module", params=["mixed_bfloat16", "mixed_float16"])
def precision(request):
    return request.param


def four_steps(workdir, **options):
    """Trains image by image; returns the losses, and the weights after every step."""
    kept = Weights()
    recipe = light(steps=4, batch=4)
    run(workdir, recipe, callbacks=[kept], **options, log_every=1)
    return [float(row["loss"]) for row in rows(workdir) if row["loss"]], kept.seen


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return four_steps(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, precision):
    return four_steps(tmp_path_factory.mktemp("mixed"), precision=precision, accumulate=4)


@pytest.mark.slow
def test_mixed_precision_trains(full, mixed):
    losses, (_, second, *_) = mixed
    assert all(weight.dtype == np.float32 for weight in second)
    assert not all(np.array_equal(a, b) for a, b in zip(full[1][1], second, strict=True))
    # Two steps of Adam move a weight by at most twice the learning rate.
    assert_equal_weights(full[1][1], second, atol=4e-3)
    np.testing.assert_allclose(losses[:2], full[0][:2], rtol=0.02)


@pytest.mark.slow
def test_two_replicas_equal_one_device_in_mixed_precision(tmp_path, mixed, precision):
    # Image by image rounding is the same, and only sums in float32 are taken in another order. From
    # the second step on a weight that differs in its last bit can round to another 16-bit number.
    two = four_steps(tmp_path, precision=precision, accumulate=2, strategy="mirrored")
    assert len(two[0]) == 4
    np.testing.assert_allclose(two[0], mixed[0], rtol=1e-4)
    assert_equal_weights(two[1][0], mixed[1][0], atol=1e-8)


@BOTH
def test_an_overflow_on_one_replica_skips_the_step_on_all(strategy):
    strategy = strategies.make_strategy(strategy)
    recipe = light()
    with strategy.scope():
        model = experiment.build(recipe)
        state = State(recipe, model, loss_scaling=True)
        model.compile(state.main.optimizer, recipe.loss)
    before = [v.numpy() for v in model.trainable_variables]
    images, sharp, seeds = some_batch()
    overflowing = images.copy()
    overflowing[1] = np.inf  # of the last replica alone
    step = make_step(recipe, strategy, state)

    def do(batch):
        data = tf.data.Dataset.from_tensor_slices((batch, sharp, seeds))
        data = data.batch(2 // strategy.num_replicas_in_sync)
        batches = iter(strategy.distribute_datasets_from_function(lambda context: data))
        step(next(batches))

    do(overflowing)
    assert_equal_weights(before, [v.numpy() for v in model.trainable_variables])
    assert state.main.optimizer.iterations.numpy() == 0
    assert state.main.optimizer.dynamic_scale.numpy() == 2**14
    do(images)
    assert state.main.optimizer.iterations.numpy() == 1
    assert not any(np.isnan(v.numpy()).any() for v in model.trainable_variables)


@pytest.mark.slow
@BOTH
def test_early_stopping_after_validations_without_a_new_best(tmp_path, strategy):
    recipe = simple(steps=40, learning_rate=1e-12, end_learning_rate=1e-12)
    options = {"validate_every": 2, "early_stopping": 3, "strategy": strategy}
    result = run(tmp_path, recipe, **options)
    assert result.step == 8  # the first is the best, three more are not better
    assert result.finished
    again = run(tmp_path, recipe, **options)
    assert again.step == 8


@BOTH
def test_the_learning_rate_falls_on_a_plateau(tmp_path, strategy):
    recipe = simple(
        steps=10,
        schedule="constant",
        learning_rate=1e-12,
        end_learning_rate=3e-13,
        plateau_patience=2,
        plateau_factor=0.5,
    )
    run(tmp_path, recipe, validate_every=1, log_every=1, strategy=strategy)
    rates = [float(row["learning_rate"]) for row in rows(tmp_path) if row["loss"]]
    # The first validation is the best; after two more the rate falls, and after two more again.
    np.testing.assert_allclose(rates, [1e-12] * 3 + [5e-13] * 2 + [3e-13] * 5, rtol=1e-5)


def test_a_plateau_counts_from_the_last_best():
    state = State(tiny(), experiment.build(tiny()))
    for psnr, factor in [(20, 1), (19, 1), (21, 1), (20, 1), (20.5, 0.5), (20, 0.5), (20, 0.25)]:
        state.note_validation(psnr, 2, 0.5)
        assert state.numbers()["rate_factor"] == factor
    assert state.validations_since_best == 4


@pytest.mark.slow
@BOTH
def test_fine_tuning_starts_from_another_runs_best_weights(tmp_path, strategy):
    run(tmp_path / "first", simple(steps=3))
    frozen = {"learning_rate": 1e-12, "end_learning_rate": 1e-12}
    options = {"init_from": str(tmp_path / "first"), "seed": 5, "strategy": strategy}
    run(tmp_path / "second", simple(steps=1, **frozen), **options)
    expected = weights(tmp_path / "first", "best")
    assert_equal_weights(expected, weights(tmp_path / "second"), atol=1e-9)
    assert not np.array_equal(expected[0], weights(tmp_path / "first")[0] * 0)


@pytest.mark.slow
def test_fine_tuning_another_network_is_an_error(tmp_path):
    run(tmp_path / "first", light(steps=3))
    wide = {**light().network, "filters": (8,)}
    with pytest.raises(UserError, match="weights of another network"):
        run(tmp_path / "second", light(network=wide), init_from=str(tmp_path / "first"))


def test_fine_tuning_with_a_gate_that_the_first_run_lacks(tmp_path, caplog):
    run(tmp_path / "first", tiny(steps=1))
    gated = {**tiny().network, "gate": True}
    frozen = {"learning_rate": 1e-12, "end_learning_rate": 1e-12}
    run(
        tmp_path / "second",
        tiny(steps=1, network=gated, **frozen),
        init_from=str(tmp_path / "first"),
    )
    assert "has no gate; new here" in caplog.text
    old, both = weights(tmp_path / "first", "best"), weights(tmp_path / "second")
    assert len(both) == len(old) + 4  # the gate's two layers
    assert_equal_weights(old, both[: len(old)], atol=1e-9)
    with pytest.raises(UserError, match=r"weights of another network \(of gate/"):
        run(tmp_path / "third", tiny(steps=1), init_from=str(tmp_path / "second"))


@BOTH
def test_keras_callbacks(tmp_path, strategy):
    class Record(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.calls = []

        def on_train_begin(self, logs=None):
            self.calls.append("train begins")

        def on_train_batch_begin(self, batch, logs=None):
            self.calls.append(batch)

        def on_epoch_end(self, epoch, logs=None):
            self.calls.append(f"epoch {epoch}: {sorted(logs)}")

        def on_train_end(self, logs=None):
            self.calls.append("train ends")

    record = Record()
    run(tmp_path, simple(steps=5), strategy=strategy, callbacks=[record])
    logs = "['learning_rate', 'loss', 'val_psnr']"
    assert record.calls == [
        "train begins",
        *(0, 1, 2, f"epoch 0: {logs}"),
        *(3, 4, f"epoch 1: {logs}"),
        "train ends",
    ]


def test_unknown_precision():
    with pytest.raises(UserError, match="--precision half: expected one of float32"):
        Options(precision="half")


def test_a_crop_the_network_cannot_take(tmp_path):
    with pytest.raises(
        UserError, match="crop 18: expected a multiple of 8 for this network; pass --set crop=16"
    ):
        run(tmp_path, tiny(crop=18))


def test_averages_start_at_the_weights():
    model = experiment.build(tiny())
    average = WeightAverage(model, 0.999)
    assert_equal_weights(
        [v.numpy() for v in model.trainable_variables],
        [v.numpy() for v in average.by_path().values()],
    )


def test_weights_come_back_after_validating():
    model = experiment.build(tiny())
    average = WeightAverage(model, 0.5)
    before = [v.numpy() for v in model.trainable_variables]
    for variable in average.by_path().values():
        variable.assign(variable + 1)
    with pytest.raises(RuntimeError), average.in_place():
        assert_equal_weights([b + 1 for b in before], [v.numpy() for v in model.weights])
        raise RuntimeError
    assert_equal_weights(before, [v.numpy() for v in model.trainable_variables])
