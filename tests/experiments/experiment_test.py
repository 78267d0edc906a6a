"""Recipes, overrides and what a run directory remembers."""

import dataclasses
import json

import pytest

from restore_tf.errors import UserError
from restore_tf.experiments import experiment


def gopro():
    return experiment.load_recipe("srn", "gopro")


def test_the_papers_numbers():
    recipe = gopro()
    # Tao et al. 2018, section 4.
    assert (recipe.batch, recipe.crop, recipe.learning_rate) == (16, 256, 1e-4)
    assert (recipe.end_learning_rate, recipe.decay_power) == (1e-6, 0.3)
    assert (recipe.beta_1, recipe.beta_2, recipe.epsilon) == (0.9, 0.999, 1e-8)
    assert recipe.recurrent_clip_norm == 3.0
    assert recipe.steps * 16 == pytest.approx(2000 * 2103, abs=16)


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("batch=8", "batch", 8),
        ("learning_rate=1e-3", "learning_rate", 1e-3),
        ("learning_rate=1", "learning_rate", 1.0),
        ("recurrent_clip_norm=None", "recurrent_clip_norm", None),
        ("augment=flip_rotate,saturation", "augment", ("flip_rotate", "saturation")),
        ("augment=", "augment", ()),
        ("schedule=cosine", "schedule", "cosine"),
    ],
)
def test_overrides(assignment, field, value):
    assert getattr(experiment.override(gopro(), [assignment]), field) == value


def test_network_overrides():
    recipe = experiment.override(gopro(), ["network.width=4", "network.global_skip=True"])
    assert recipe.network == {"channels": 3, "recurrent": True, "width": 4, "global_skip": True}
    assert gopro().network == {"channels": 3, "recurrent": True}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("bach=8", r"no such field.*did you mean batch"),
        ("batch", "expected field=value"),
        ("batch=many", "batch takes int, not 'many'"),
        ("batch=8.5", "batch takes int, not 8.5"),
        ("batch=True", "batch takes int, not True"),
        ("model=srn_gray", "no such field"),
    ],
)
def test_wrong_overrides_are_named(assignment, message):
    with pytest.raises(UserError, match=message):
        experiment.override(gopro(), [assignment])


@pytest.mark.parametrize(
    ("model", "recipe", "message"),
    [
        ("nosuch", "gopro", "no such paper; there are mprnet, srn"),
        ("srn_grey", "gopro", "did you mean srn_gray"),
        ("srn", "gorpo", r"--recipe gorpo: srn has gopro, quick \(did you mean gopro\?\)"),
        ("../evil", "gopro", "not the name of a model"),
        ("os.path", "gopro", "not the name of a model"),
    ],
)
def test_unknown_names(model, recipe, message):
    with pytest.raises(UserError, match=message):
        experiment.load_recipe(model, recipe)


def test_a_wrong_network_argument_is_named():
    with pytest.raises(UserError, match="widht"):
        experiment.build(experiment.override(gopro(), ["network.widht=4"]))


def test_round_trip(tmp_path):
    recipe = experiment.override(gopro(), ["augment=flip_rotate", "network.width=4"])
    experiment.write(tmp_path / "run", recipe, {"seed": 3})
    read, run = experiment.read(tmp_path / "run")
    assert dataclasses.asdict(read) == json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert run == {"seed": 3}
    saved = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert saved["environment"]["versions"]["keras"]


@pytest.mark.parametrize("content", ["", "{}", '{"experiment": {"steps": 3}, "run": {}}'])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UserError, match="experiment.json: damaged or written by another version"):
        experiment.read(tmp_path)


def test_not_a_run_directory(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        experiment.read(tmp_path)
