"""The loop: resuming exactly, strategies in numbers, and stopping without losing anything."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_training import (
    assert_equal_weights,
    kill_at,
    rows,
    run,
    simple,
    some_batch,
    stop_at,
    tiny,
    weights,
)

from restore_tf.datasets import sources
from restore_tf.errors import UserError
from restore_tf.experiments import experiment, run_directory
from restore_tf.networks import losses
from restore_tf.training import checks, schedules, strategies
from restore_tf.training.options import Result
from restore_tf.training.state import State
from restore_tf.training.step import make_step


@pytest.fixture
def deterministic():
    tf.config.experimental.enable_op_determinism()
    yield
    # There is no public way to switch it off again, and the other tests do not mind it.


def test_a_run_leaves_what_the_commands_need(tmp_path):
    result = run(tmp_path, simple(steps=4))
    assert result == Result(4, True, result.best_score, result.degraded_score, "psnr")
    found = {path.name for path in tmp_path.iterdir()}
    assert found >= {"experiment.json", "best.weights.h5", "metrics.csv", "checkpoints"}
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        "step_0000003.png",
        "step_0000004.png",
    }
    table = rows(tmp_path)
    assert [row["step"] for row in table if row["loss"]] == ["2", "4"]
    assert [row["step"] for row in table if row["psnr"]] == ["3", "4"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_checkpoint_of_step_0_is_no_stand_in_for_a_damaged_one(tmp_path, caplog):
    """Going on from there would replace the best weights by early ones."""
    stop_at(tmp_path, 4, simple(), checkpoint_every=100, validate_every=2)
    best = (tmp_path / "best.weights.h5").read_bytes()
    data = next((tmp_path / "checkpoints").glob("ckpt-4.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(UserError, match="none of its checkpoints can be resumed"):
        run(tmp_path, simple(), checkpoint_every=100, validate_every=2)
    assert (tmp_path / "best.weights.h5").read_bytes() == best


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, deterministic):
    run(tmp_path / "whole")
    interrupted = tmp_path / "parts"
    stop_at(interrupted, 3)
    assert [int(row["step"]) for row in rows(interrupted)][-1] == 3
    result = run(interrupted)
    assert result.finished
    assert_equal_weights(weights(tmp_path / "whole"), weights(interrupted))
    assert_equal_weights(weights(tmp_path / "whole", "best"), weights(interrupted, "best"))
    columns = ("step", "learning_rate", "psnr")
    assert [[row[c] for c in columns] for row in rows(tmp_path / "whole") if row["psnr"]] == [
        [row[c] for c in columns] for row in rows(interrupted) if row["psnr"]
    ]


@pytest.mark.parametrize("step", [1, 3])
def test_a_run_killed_before_its_first_checkpoint_resumes(tmp_path, deterministic, step):
    options = {"validate_every": 1, "checkpoint_every": 4}
    run(tmp_path / "whole", simple(), **options)
    parts = tmp_path / "parts"
    kill_at(parts, step, simple(), **options)
    assert run_directory.checkpoint_step(parts) == 0
    assert (parts / "best.weights.h5").exists() == (step > 1)
    run_directory.check_for_training(parts)
    assert run(parts, simple(), **options).finished
    for which in ("latest", "best"):
        assert_equal_weights(weights(tmp_path / "whole", which), weights(parts, which))


@pytest.mark.slow
def test_rows_beyond_the_checkpoint_are_dropped_on_resume(tmp_path):
    stop_at(tmp_path, 3, simple())
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("4,0.5,,,,\n5,0.")  # written by a process that was killed before a checkpoint
    run(tmp_path, simple())
    steps = [int(row["step"]) for row in rows(tmp_path)]
    assert steps == sorted(steps)
    assert steps.count(4) == 1


def test_a_truncated_newest_checkpoint_falls_back(tmp_path, deterministic, caplog):
    run(tmp_path / "whole", simple())
    parts = tmp_path / "parts"
    stop_at(parts, 5, simple())
    data = next((parts / "checkpoints").glob("ckpt-5.data*"))
    data.write_bytes(data.read_bytes()[:100])
    run(parts, simple())
    assert "ckpt-5: damaged checkpoint, trying an older one" in caplog.text
    assert_equal_weights(weights(tmp_path / "whole"), weights(parts))


@pytest.mark.parametrize("damage", ["garbage{", None])
def test_checkpoints_are_found_without_their_list(tmp_path, deterministic, caplog, damage):
    run(tmp_path / "whole", simple())
    parts = tmp_path / "parts"
    stop_at(parts, 5, simple())
    listed = parts / "checkpoints" / "checkpoint"
    listed.unlink() if damage is None else listed.write_text(damage)
    assert run_directory.checkpoint_step(parts) == 5
    run_directory.check_for_training(parts)
    run(parts, simple())
    assert "checkpoint: missing or damaged; going by the files' names" in caplog.text
    assert_equal_weights(weights(tmp_path / "whole"), weights(parts))
    assert len(run_directory.listed_steps(parts / "checkpoints")) > 0


def test_the_newest_checkpoint_is_the_last_one_saved(tmp_path):
    """Not that of the most steps: a training that went on from an older one is behind it again."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    listed = [f'all_model_checkpoint_paths: "{tmp_path}/ckpt-{step}"' for step in (5, 4)]
    (folder / "checkpoint").write_text("\n".join(['model_checkpoint_path: "ckpt-4"', *listed]))
    assert run_directory.checkpoint_step(tmp_path) == 4
    (folder / "checkpoint").unlink()
    assert run_directory.checkpoint_step(tmp_path) is None
    for name in ("ckpt-9.index", "ckpt-10.index", "ckpt-11.data-00000-of-00001", "ckpt-x.index"):
        (folder / name).touch()
    assert run_directory.checkpoint_step(tmp_path) == 10


def test_no_readable_checkpoint_is_an_error(tmp_path, caplog):
    stop_at(tmp_path, 1, simple())
    for data in (tmp_path / "checkpoints").glob("*.data*"):
        data.write_bytes(b"")
    with pytest.raises(UserError, match="none of its"):
        run(tmp_path, simple())
    assert "damaged" in caplog.text


@pytest.mark.slow
def test_two_replicas_equal_one_device(tmp_path):
    recipe = tiny(steps=4, recurrent_clip_norm=1e-3, learning_rate=1e-3)
    run(tmp_path / "one", recipe, strategy="one")
    run(tmp_path / "two", recipe, strategy="mirrored")
    # Sums are taken in another order; Adam's first steps magnify that where a gradient is tiny.
    assert_equal_weights(weights(tmp_path / "one"), weights(tmp_path / "two"), atol=2e-5)
    losses_of = [
        [float(row["loss"]) for row in rows(tmp_path / name) if row["loss"]]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses_of, rtol=1e-5)


def test_a_step_is_adam_on_the_batch_mean(tmp_path):
    """One step against a tape, Adam's formula and the clip written out by hand."""
    network = {"channels": 3, "recurrent": True, "width": 4, "res_blocks": 1, "scales": 2}
    recipe = tiny(
        network=network, recurrent_clip_norm=1e-4, learning_rate=1e-3, end_learning_rate=1e-3
    )
    keras.utils.set_random_seed(0)
    model = experiment.build(recipe)
    batch = some_batch()
    with tf.GradientTape() as tape:
        stages = model(batch[0])
        loss = sum(
            tf.reduce_mean((stage - batch[1][:, ::factor, ::factor]) ** 2)
            for stage, factor in zip(stages, (2, 1), strict=True)
        )
    variables = model.trainable_variables
    gradients = [g.numpy() for g in tape.gradient(loss, [v.value for v in variables])]
    before = [v.numpy() for v in variables]
    recurrent = [i for i, v in enumerate(variables) if "conv_lstm" in v.path]
    norm = np.sqrt(sum(np.sum(gradients[i] ** 2) for i in recurrent))
    assert norm > 1e-4
    for i in recurrent:
        gradients[i] = gradients[i] * (1e-4 / norm)
    state = State(recipe, model)
    model.compile(state.main.optimizer, recipe.loss)
    step = make_step(recipe, tf.distribute.get_strategy(), state)
    np.testing.assert_allclose(step(batch)["loss"], loss, rtol=1e-5)
    for old, gradient, variable in zip(before, gradients, variables, strict=True):
        # First step of Adam: both moments are the gradient itself after bias correction.
        expected = old - 1e-3 * gradient / (np.abs(gradient) + 1e-8 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(variable.numpy(), expected, atol=2e-5)


def test_a_non_finite_loss_stops_and_keeps_the_last_checkpoint(tmp_path):
    stop_at(tmp_path, 4, simple())
    good = weights(tmp_path)

    def poisoned(sharp, stages):
        return losses.charbonnier_clipped(sharp, stages) * float("nan")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(losses.LOSSES, "charbonnier_edge", poisoned)
        with pytest.raises(UserError, match="the loss is nan at step 5"):
            run(tmp_path, simple())
    assert_equal_weights(good, weights(tmp_path))


def test_non_finite_weights_are_never_saved(tmp_path):
    recipe = simple(learning_rate=1e30, end_learning_rate=1e30, steps=8)
    with pytest.raises(UserError, match="(is not finite|the loss is)"):
        run(tmp_path, recipe, checkpoint_every=1)
    for which in ("best", "latest"):
        try:
            assert all(np.all(np.isfinite(w)) for w in weights(tmp_path, which))
        except UserError:  # nothing was saved at all, which is as good
            continue


def test_a_damaged_picture_is_named_and_the_run_can_go_on(tmp_path):
    from PIL import Image

    from restore_tf.datasets.pairing import Pair

    found = []
    for index in range(3):
        paths = [tmp_path / f"{side}{index}.png" for side in "ab"]
        for path in paths:
            noise = np.random.default_rng(index).integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(noise).save(path)
        found.append(Pair(f"p{index}", *paths))
    whole = found[2].sharp.read_bytes()
    damaged = bytearray(whole)
    middle = damaged.index(b"IDAT") + 12
    damaged[middle : middle + 8] = bytes(8)
    found[2].sharp.write_bytes(damaged)
    with pytest.raises(UserError, match="^p2: .*; replace that pair") as caught:
        run(tmp_path / "run", simple(), sources.FileSource(found))
    assert "{{" not in str(caught.value)
    found[2].sharp.write_bytes(whole)
    assert run(tmp_path / "run", simple(), sources.FileSource(found)).finished


def test_a_batch_must_divide_by_the_devices(tmp_path):
    with pytest.raises(UserError, match="batch 3 does not divide by 2 devices"):
        run(tmp_path, simple(batch=3), strategy="mirrored")


def test_unknown_strategy():
    with pytest.raises(UserError, match="--strategy many: expected one of auto, one, mirrored,"):
        strategies.make_strategy("many")


def test_best_is_the_highest_validation():
    recipe = tiny()
    state = State(recipe, experiment.build(recipe))
    highest = [state.note_validation(psnr, None, 0.5) for psnr in (20, 19, float("nan"), 21)]
    assert highest == [True, False, False, True]
    assert state.best_score == 21


def test_best_can_be_the_lowest():
    recipe = tiny()
    state = State(recipe, experiment.build(recipe))
    scores = (0.3, float("nan"), 0.4, 0.2)
    lowest = [state.note_validation(score, higher_is_better=False) for score in scores]
    assert lowest == [True, False, False, True]
    assert state.best_score == 0.2


def test_polynomial_schedule_is_the_papers():
    schedule = schedules.learning_rate(experiment.load_recipe("srn", "gopro"))
    steps = 2000 * 2103 // 16
    for step in (0, 1000, steps // 2, steps, 2 * steps):
        share = min(step / steps, 1)
        expected = 1e-6 + (1e-4 - 1e-6) * (1 - share) ** 0.3
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)


def test_polynomial_schedule_after_constant_steps():
    linear = {"schedule": "polynomial", "decay_power": 1.0, "constant_steps": 30, "steps": 100}
    recipe = tiny(**linear, learning_rate=2e-4, end_learning_rate=1e-6)
    schedule = schedules.learning_rate(recipe)
    for step in (0, 29, 30, 65, 100, 200):
        share = min(max(step - 30, 0) / 70, 1)
        expected = 2e-4 + (1e-6 - 2e-4) * share
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UserError, match="schedule cosine: has no constant steps"):
        checks.check_schedule(tiny(schedule="cosine", constant_steps=30))


def test_cosine_schedule_with_warm_up():
    recipe = tiny(
        schedule="cosine", steps=100, warmup_steps=10, learning_rate=2e-4, end_learning_rate=1e-6
    )
    schedule = schedules.learning_rate(recipe)
    assert float(schedule(0)) == 0.0
    assert float(schedule(5)) == pytest.approx(1e-4)
    for step in (10, 40, 100):
        expected = 1e-6 + (2e-4 - 1e-6) * (1 + np.cos(np.pi * (step - 10) / 90)) / 2
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)


def test_warm_up_before_a_constant_rate():
    """As in most trainings of diffusion."""
    recipe = tiny(schedule="constant", steps=100, warmup_steps=10, learning_rate=2e-4)
    rates = [float(schedules.learning_rate(recipe)(step)) for step in (0, 1, 5, 10, 50, 99)]
    np.testing.assert_allclose(rates, [0, 2e-5, 1e-4, 2e-4, 2e-4, 2e-4], rtol=1e-5)


def test_warm_up_and_constant_steps_before_a_polynomial_decay():
    changes = {"schedule": "polynomial", "steps": 110, "warmup_steps": 10, "constant_steps": 20}
    recipe = tiny(**changes, learning_rate=1.0, end_learning_rate=0.2, decay_power=2.0)
    rates = [float(schedules.learning_rate(recipe)(step)) for step in (0, 5, 10, 30, 70, 110)]
    np.testing.assert_allclose(rates, [0, 0.5, 1, 1, 0.2 + 0.8 * 0.25, 0.2], rtol=1e-5)


def test_losses_are_one_value_per_image():
    sharp = np.zeros((2, 4, 4, 1), np.float32)
    stages = [np.full((2, 2, 2, 1), 0.5, np.float32), np.zeros((2, 4, 4, 1), np.float32)]
    stages[1][1, 0, 0] = 4.0
    # Image 0: 0.25 + 0; image 1: 0.25 + 16 / 16.
    np.testing.assert_allclose(losses.multi_scale_squared_error(sharp, stages), [0.25, 1.25])
