"""A paper with two networks, two optimizers and a step of its own, through the loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import kill_at, run, saved, some_batch, stop_at, toy, weights
from tiny_training import toys as toys

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.training import run_log
from restore_tf.training.backend_engine import BackendEngine
from restore_tf.training.state import State


def recipe(**changes):
    return toy("adversary", **({"steps": 6, "batch": 2} | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toys):
    """An uninterrupted run."""
    tf.config.experimental.enable_op_determinism()
    workdir = tmp_path_factory.mktemp("whole")
    assert run(workdir, recipe()).finished
    return workdir


def test_both_networks_resume_exactly(tmp_path, whole):
    kill_at(tmp_path, 4, recipe())  # after the checkpoint of step 2
    assert stop_at(tmp_path, 3, recipe()).step == 5
    assert run(tmp_path, recipe()).finished
    expected, found = saved(whole), saved(tmp_path)
    groups = {name.partition("/")[0] for name in found}
    assert groups == {"model", "optimizer", "critic", "critic_optimizer", "progress"}
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_critics_loss_is_a_column_of_metrics_csv(tmp_path):
    run(tmp_path, recipe(), log_every=1)
    rows = [row for row in run_log.read(tmp_path) if row["loss"]]
    assert len(rows) == 6
    shown = {}
    for file in (tmp_path / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "critic":
                    shown[event.step] = float(tf.make_ndarray(value.tensor))
    found = {int(row["step"]): float(row["loss:critic"]) for row in rows}
    assert found == pytest.approx(shown)


def test_a_run_without_the_critics_column_goes_on(tmp_path):
    """As older versions wrote them."""
    assert stop_at(tmp_path, 3, recipe(), log_every=1).step == 3
    path = tmp_path / run_log.METRICS
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    assert run(tmp_path, recipe(), log_every=1).finished
    critic = [row["loss:critic"] != "" for row in run_log.read(tmp_path) if row["loss"]]
    assert critic == [False, False, False, True, True, True]


def test_two_replicas_and_micro_batches_equal_one_device(tmp_path):
    for name, options in [("one", {}), ("two", {"strategy": "mirrored", "accumulate": 2})]:
        run(tmp_path / name, recipe(batch=4, steps=4, global_clip_norm=0.01), **options)
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert set(one) == set(two)
    for name, array in one.items():
        # Adam's first steps magnify rounding where a gradient is tiny.
        np.testing.assert_allclose(two[name], array, atol=2e-5, err_msg=name)


def test_the_restorer_alone_is_exported(whole):
    best = weights(whole, "best")
    assert [w.shape for w in best] == [(3, 3, 3, 4), (4,), (3, 3, 4, 3), (3,)]
    in_checkpoint = [a for name, a in saved(whole).items() if name.startswith("model/")]
    assert sorted(a.sum() for a in weights(whole)) == sorted(a.sum() for a in in_checkpoint)


def test_a_step_trains_the_critic_then_the_generator():
    """One step against tapes and Keras' own Adam."""
    paper, keras_adam = papers.find("adversary"), {"learning_rate": 1e-3, "epsilon": 1e-8}
    keras.utils.set_random_seed(0)
    networks = [experiment.build(recipe()), paper.critic()]
    state = State(recipe(), networks[0], others={"critic": networks[1]})
    networks[0].compile(state.main.optimizer, "charbonnier_clipped")
    generator, critic = twins = [experiment.build(recipe()), paper.critic()]
    for twin, network in zip(twins, networks, strict=True):
        twin.set_weights(network.get_weights())
    degraded, sharp, seeds = some_batch()
    step = paper.make_step(recipe(), tf.distribute.get_strategy(), state, 1)
    found = step((degraded, sharp, seeds))
    with tf.GradientTape() as tape:
        real, fake = critic(sharp), critic(generator(degraded)[-1])
        critic_loss = tf.reduce_mean((real - 1) ** 2) + tf.reduce_mean(fake**2)
    gradients = tape.gradient(critic_loss, critic.trainable_variables)
    keras.optimizers.Adam(**keras_adam).apply(gradients, critic.trainable_variables)
    with tf.GradientTape() as tape:
        restored = generator(degraded)[-1]
        difference = tf.clip_by_value(restored, 0, 1) - sharp
        loss = tf.reduce_mean(tf.sqrt(difference**2 + 1e-6))
        loss += 0.1 * tf.reduce_mean((critic(restored) - 1) ** 2)
    gradients = tape.gradient(loss, generator.trainable_variables)
    keras.optimizers.Adam(**keras_adam).apply(gradients, generator.trainable_variables)
    np.testing.assert_allclose(found["critic"], critic_loss, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    for twin, network in zip(twins, networks, strict=True):
        for a, b in zip(twin.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_every_network_scales_its_own_loss(tmp_path):
    run(tmp_path, recipe(steps=1), precision="mixed_float16")
    scales = [name for name in saved(tmp_path) if "dynamic_scale" in name]
    assert {name.partition("/")[0] for name in scales} == {"optimizer", "critic_optimizer"}


def test_a_part_may_not_take_a_name_of_the_checkpoints():
    with pytest.raises(ValueError, match="may not be called progress"):
        State(recipe(), experiment.build(recipe()), others={"progress": None})


def test_a_step_of_ones_own_needs_tensorflow(tmp_path):
    with pytest.raises(UserError, match="adversary: its training needs Keras' TensorFlow"):
        run(tmp_path, recipe(), engine=BackendEngine)
