"""Recipes, overrides and what a run directory remembers."""

import dataclasses
import json
import subprocess
import sys

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
        ("training.width=8", "no such field; this recipe has none"),
        ("batch=many", "batch takes a whole number from 1 to 1048576, not 'many'"),
        ("batch=8.5", "batch takes a whole number from 1 to 1048576, not 8.5"),
        ("batch=True", "batch takes a whole number from 1 to 1048576, not True"),
        ("batch=0", "--set batch=0: batch takes 1 or more, not 0"),
        ("batch=-3", "batch takes 1 or more, not -3"),
        ("batch=None", "batch takes a whole number from 1 to 1048576, not None"),
        ("crop=0", "crop takes 1 or more"),
        ("crop=1000000", "crop takes 65536 or less"),
        ("steps=0", "steps takes 1 or more"),
        ("learning_rate=0", "learning_rate takes more than 0"),
        ("learning_rate=-1e-3", "learning_rate takes more than 0"),
        ("learning_rate=1e999", "learning_rate takes a finite number"),
        (
            "learning_rate=inf",
            "learning_rate takes a finite number, more than 0 and at most 1e.38, not 'inf'",
        ),
        ("learning_rate=nan", "takes a finite number, more than 0 and at most 1e.38, not 'nan'"),
        (f"learning_rate={10**400}", "learning_rate takes a finite number"),
        ("end_learning_rate=-1", "end_learning_rate takes 0 or more"),
        ("schedule=linear", "schedule takes one of polynomial, cosine, constant"),
        ("decay_power=0", "decay_power takes more than 0"),
        ("schedule_steps=0", "schedule_steps takes 1 or more or None"),
        ("warmup_steps=-1", "warmup_steps takes 0 or more"),
        ("beta_1=1", "beta_1 takes less than 1"),
        ("beta_2=-0.1", "beta_2 takes 0 or more"),
        ("epsilon=0", "epsilon takes more than 0"),
        ("recurrent_clip_norm=0", "recurrent_clip_norm takes more than 0 or None"),
        ("global_clip_norm=-1", "global_clip_norm takes more than 0 or None"),
        ("ema_momentum=2", "ema_momentum takes less than 1 or None"),
        ("ema_momentum=1", "ema_momentum takes less than 1 or None"),
        ("plateau_patience=0", "plateau_patience takes 1 or more or None"),
        ("plateau_factor=0", "plateau_factor takes more than 0"),
        ("plateau_factor=1", "plateau_factor takes less than 1"),
        ("beta_1=nan", "beta_1 takes a finite number, 0 or more and less than 1, not 'nan'"),
        ("ema_momentum=x", "takes a finite number, 0 or more and less than 1 or None"),
        ("augment=7", "augment takes names"),
        ("augment=[7]", "augment takes names"),
        ("progressive=3", "progressive takes .*three whole numbers"),
        (
            f"progressive=[(0, {10**30}, 2)]",
            "progressive takes .*from 0 to 1000000000000, 1 to 65536",
        ),
        ("progressive=[(1, 2)]", "progressive takes .*three whole numbers"),
        ("progressive=[(5, 16, 2), (3, 16, 2)]", "progressive takes steps that rise"),
        ("progressive=[(0, 16, 0)]", "progressive takes .*three whole numbers"),
        ("dataset=", "dataset takes a name"),
        ("loss=3", "loss takes a name, not 3"),
        ("model=srn_gray", "no such field"),
    ],
)
def test_wrong_overrides_are_named(assignment, message):
    with pytest.raises(UserError, match=message):
        experiment.override(gopro(), [assignment])


@pytest.mark.parametrize(
    ("model", "recipe", "message"),
    [
        ("nosuch", "gopro", "no such paper; there are .*mprnet.*, srn"),
        ("srn_grey", "gopro", "did you mean srn_gray"),
        (
            "srn",
            "gorpo",
            r"gorpo: srn has gopro, quick, tiny, light \(did you mean gopro\?\)",
        ),
        ("../evil", "gopro", "not the name of a model"),
        ("os.path", "gopro", "not the name of a model"),
    ],
)
def test_unknown_names(model, recipe, message):
    with pytest.raises(UserError, match=message):
        experiment.load_recipe(model, recipe)


def test_every_field_states_its_range():
    for field in dataclasses.fields(experiment.Experiment):
        assert field.metadata["range"].problem(getattr(gopro(), field.name)) is None
        assert field.metadata["range"].problem(object()) is not None, field.name


@pytest.mark.parametrize(
    "changes", [{"batch": 0}, {"learning_rate": float("nan")}, {"beta_1": float("inf")}]
)
def test_ranges_hold_in_python_too(changes):
    with pytest.raises(UserError, match=next(iter(changes))):
        dataclasses.replace(gopro(), **changes)


@pytest.mark.parametrize(
    "assignment",
    [
        "network.widht=4",
        "network.width=0",
        "network.width=-4",
        "network.width=wide",
        "network.width=[1]",
        "network.scales=0",
        "network.res_blocks=-1",
        "network.res_blocks=True",
        f"network.width={10**30}",
        f"network.res_blocks={10**30}",
        "network.scales=1.5",
        "network.scales=None",
        "network.res_blocks=many",
    ],
)
def test_a_wrong_network_argument_is_one_line(assignment):
    name = assignment.removeprefix("network.").partition("=")[0]
    with pytest.raises(UserError, match=f"network of srn: .*{name}") as error:
        experiment.build(experiment.override(gopro(), [assignment]))
    assert "\n" not in str(error.value)


def test_an_option_that_the_network_lacks_is_named():
    with pytest.raises(UserError, match="network of srn: has no option stages, depth .given: "):
        experiment.construct(gopro(), stages=1, depth=3)


def test_round_trip(tmp_path):
    recipe = experiment.override(gopro(), ["augment=flip_rotate", "network.width=4"])
    experiment.write(tmp_path / "run", recipe, {"seed": 3})
    read, run = experiment.read(tmp_path / "run")
    assert dataclasses.asdict(read) == json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert run == experiment.Run(seed=3)
    saved = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert saved["environment"]["versions"]["keras"]


# As version 1.0 wrote it.
OLD = """{"format": 1, "experiment": {"model": "srn", "recipe": "quick",
 "network": {"channels": 3, "recurrent": true, "width": 8}, "dataset": "synthetic",
 "config": "defocus", "loss": "multi_scale_squared_error", "steps": 2000, "batch": 4, "crop": 96,
 "learning_rate": 0.001, "end_learning_rate": 1e-05, "augment": ["flip_rotate"],
 "schedule": "cosine", "recurrent_clip_norm": 3.0},
 "run": {"data_dir": "/data", "init_from": null, "seed": 7, "precision": "mixed_bfloat16",
 "overrides": ["network.width=8"], "of_another_version": [1]},
 "environment": {"python": "3.11"}}"""
OLD_CONVERTED = """{"format": 1, "experiment": {"model": "srn_lstm", "recipe": "gopro",
 "network": {}, "dataset": "gopro", "config": "blur", "loss": "multi_scale_squared_error",
 "steps": 262875, "batch": 16, "crop": 256, "learning_rate": 0.0001, "end_learning_rate": 1e-06},
 "run": {"converted": {"files": {"deblur.model-523000.index": "00ff"}, "terms": "MIT",
 "identified": null}, "overrides": []}, "environment": {}}"""


def test_records_of_older_versions(tmp_path):
    (tmp_path / "experiment.json").write_text(OLD)
    recipe, run = experiment.read(tmp_path)
    assert recipe.network["width"] == 8
    assert recipe.beta_2 == 0.999
    assert (run.seed, run.precision, run.data_dir) == (7, "mixed_bfloat16", "/data")
    assert run.overrides == ("network.width=8",)
    assert run.origin is None
    experiment.write(tmp_path, recipe, run)
    assert experiment.read(tmp_path)[1] == run
    saved = json.loads((tmp_path / "experiment.json").read_text())["run"]
    assert saved["of_another_version"] == [1]
    (tmp_path / "experiment.json").write_text(OLD_CONVERTED)
    _, run = experiment.read(tmp_path)
    assert run.origin == "converted from deblur.model-523000.index (MIT)"
    assert run.seed == 0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"experiment": {"steps": 3}, "run": {}}',
        OLD.replace('"seed": 7', '"seed": "7"'),
        OLD.replace('"/data"', "3"),
        OLD.replace('"batch": 4', '"batch": 0'),
        OLD.replace('"batch": 4', '"batch": "4"'),
        OLD_CONVERTED.replace('"run": {', '"run": 5, "x": {'),
        "[" * 10**5,
    ],
)
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UserError, match="experiment.json: damaged or written by another version"):
        experiment.read(tmp_path)


def test_a_record_of_a_paper_that_is_not_here(tmp_path):
    for model in ("nosuch", "srn_grey", "../evil"):
        text = OLD.replace('"model": "srn"', f'"model": "{model}"')
        assert model in text
        (tmp_path / "experiment.json").write_text(text)
        with pytest.raises(UserError, match="experiment.json: is of a model that is not installed"):
            experiment.read(tmp_path)


def test_not_a_run_directory(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        experiment.read(tmp_path)


def test_what_lies_beside_recipes_is_read_without_a_framework():
    code = (
        "import sys; from restore_tf.experiments import papers; "
        "assert 'rain13k' in papers.sibling_module('mprnet', 'onednn').FASTER_RECIPES; "
        "assert 'light' in papers.sibling_module('srn_lstm', 'onednn').SYNTHETIC_RECIPES; "
        "assert papers.sibling_module('maxim', 'onednn') is None; "
        "assert papers.sibling_module('../x', 'onednn') is None; "
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
