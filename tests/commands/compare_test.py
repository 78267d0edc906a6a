"""`restore-tf compare`: what it refuses, what it plans, and small comparisons from end to end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tiny_training import toys  # noqa: F401

from restore_tf.commands import cli, compare
from restore_tf.commands.comparing import costs, entries, pairs, trainings
from restore_tf.commands.comparing import request as requests
from restore_tf.datasets.samples import Samples
from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.results import Cost
from restore_tf.experiments import experiment as experiments

TOYS = Path(__file__).parents[1] / "toys"


def photos(folder, seed=0, count=3, side=48):
    """A folder of pairs as Restormer's downloads have them: scenes a and b; returns its path."""
    random = np.random.default_rng(seed)
    for scene in "ab":  # the second is held out
        for index in range(count):
            smooth = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
            sharp = Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)
            for kind, picture in [
                ("input", sharp.filter(ImageFilter.GaussianBlur(2))),
                ("target", sharp),
            ]:
                (folder / kind / scene).mkdir(parents=True, exist_ok=True)
                picture.save(folder / kind / scene / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


def words(data, output, *more, models="onlyluma"):
    chosen = [f"--models={models}"] if models else []
    return [
        *chosen,
        "--dataset=folder:one/validation",
        f"--data_dir=folder:one={data}",
        f"--output={output}",
        *"--steps=4 --batch=2 --crop=16 --metrics=psnr,gmsd --nocost".split(),
        *more,
    ]


def request(*given):
    values = compare.define_flags()
    positional = values(["compare", "--output=out", *given])[1:]
    return requests.read_flags(values, positional)


def run(*given):
    return compare.main(["restore-tf compare", *map(str, given)])


# What is refused.


@pytest.mark.parametrize(
    "given, said",
    [
        ([], "--output: missing"),
        (["--output=out"], "--models or --runs: missing"),
        (["--models=srm", "--output=out"], "--model srm: no such paper"),
        (["--models=srn:quik", "--output=out"], "--recipe quik: srn has"),
        (["--models=srn,srn", "--output=out"], "--models srn: is named twice"),
        (["--models=srn", "--output=out", "--dataset=gopr"], "no such data set"),
        (["--models=srn", "--output=out", "--dataset=gopro"], "needs --data_dir"),
        (["--models=srn", "--output=out", "--dataset=synthetic:blurr"], "blurr"),
        (["--models=srn", "--output=out", "--test_on=synthetic:defocus"], "named twice"),
        (["--models=srn", "--output=out", "--test_on=synthetic:box/tset"], "expected a split"),
        (["--models=srn", "--output=out", "--dataset=synthetic:box/train"], "are no test"),
        (["--models=srn", "--output=out", "--metrics=psnrr"], "--metrics psnrr"),
        (["--models=srn", "--output=out", "--cost_sizes=512"], "expected WIDTHxHEIGHT"),
        (["--models=srn", "--output=out", "--chains=srn"], "joined by"),
        (["--models=srn", "--output=out", "--chains=srn+unet"], "unet is none of the networks"),
        (["--models=srn", "--output=out", "--finish"], "--finish: needs --chains"),
        (["--models=srn", "--output=out", "--votes=nowhere.csv"], "no such file"),
        (["--models=srn", "--output=out", "--crop=4096"], "less than the training crop"),
        (["--models=srn,edsr", "--output=out"], "compare networks of one scale"),
        (["nowhere/run", "--output=out"], "not a run directory"),
        (["--runs=no_such_weights", "--output=out"], "neither a run directory nor published"),
    ],
)
def test_a_bad_flag_is_one_line_and_nothing_is_written(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*given) == cli.USER_ERROR
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ") and said in error[-1]
    assert list(tmp_path.iterdir()) == []


def test_another_request_or_foreign_files_in_the_folder(tmp_path):
    first, other = request("--models=onlyluma"), request("--models=onlyluma", "--steps=7")
    assert requests.claim(tmp_path / "new", first) is False
    assert requests.claim(tmp_path / "new", first) is True
    with pytest.raises(UserError, match="was started with steps=2000, not 7; repeat its flags"):
        requests.claim(tmp_path / "new", other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="has files that are no comparison's"):
        requests.claim(tmp_path / "mine", first)


# Training pictures and test pictures.


def test_a_picture_that_is_trained_on_is_no_test_whatever_its_name(data, tmp_path):
    shutil.copytree(data / "input", tmp_path / "input")
    shutil.copytree(data / "target", tmp_path / "target")
    for kind in ("input", "target"):
        (tmp_path / kind / "a" / "0.png").rename(tmp_path / kind / "b" / "renamed.png")
    split = request(
        "--models=onlyluma",
        "--dataset=folder:one/validation",
        "--test_on=folder:other",
        f"--data_dir=folder:one={data},folder:other={tmp_path}",
    )
    with pytest.raises(UserError, match=r"trained on the same picture, .*target/a/"):
        pairs.check_trained_here(split, 1)


def test_sequences_are_on_one_side(tmp_path):
    random = np.random.default_rng(0)
    for part, sequence in [("train", "S1"), ("train", "S2"), ("test", "S1")]:
        for kind in ("blur", "sharp"):
            folder = tmp_path / part / sequence / kind
            folder.mkdir(parents=True)
            for number in range(2):
                noise = random.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(noise).save(folder / f"{part}{number}.png")
    split = request("--models=onlyluma", "--dataset=gopro", f"--data_dir=gopro={tmp_path}")
    with pytest.raises(UserError, match="trained on S1, too; test on other sequences"):
        pairs.check_trained_here(split, 1)
    (tmp_path / "test" / "S1").rename(tmp_path / "test" / "S3")
    pairs.check_trained_here(split, 1)


def test_a_published_networks_training_set_is_no_test(tmp_path):
    given = request(
        "maxim_deblurring_stage1", "--test_on=gopro:blur/train", f"--data_dir=gopro={tmp_path}"
    )
    record = experiments.load_recipe("maxim", "gopro"), experiments.Run()
    with pytest.raises(UserError, match="was trained on the training pictures of gopro"):
        pairs.check_run(given, "maxim", *record, 1)


# What is trained.


def test_every_model_sees_the_same_crops_in_the_same_order():
    """By the flags that its training gets, whatever its recipe says."""
    from restore_tf.commands import train, training_plan

    given = request("--models=onlyluma,sampler,adversary", "--dataset=synthetic:defocus")
    streams = []
    for entry in entries.plan(given, "out").values():
        values = train.define_flags()
        values(["train.py", *trainings.words(entry, given, 10)])
        recipe, made = training_plan.experiment_of(values)
        source = training_plan.make_plan(values).sources[0]
        samples = Samples(
            source, crop=recipe.crop, seed=made.seed, augment=recipe.augment, channels=3
        )
        assert (recipe.batch, recipe.crop) == (4, 96)
        streams.append([samples(number) for number in (0, 1, 7)])
    for other in streams[1:]:
        for one, another in zip(streams[0], other, strict=True):
            for left, right in zip(one, another, strict=True):
                np.testing.assert_array_equal(left, right)


def test_an_adversary_counts_as_a_network():
    given = request("--models=onlyluma,adversary", "--dataset=synthetic:defocus")
    counted = [trainings.networks_of(entry) for entry in entries.plan(given, "out").values()]
    assert counted == [1, 2]


def test_each_kind_all_of_them_and_chains_with_their_controls():
    given = request("--models=onlyluma,sampler", "--chains=onlyluma+sampler")
    found = entries.plan(given, "out")
    kinds = ["synthetic_defocus", "synthetic_motion", "all"]
    single = [f"{model}@{kind}" for model in ("onlyluma", "sampler") for kind in kinds]
    chains = ["onlyluma@all+onlyluma@all", "onlyluma@all+sampler@all"]
    assert list(found) == [*single, *chains]
    both = entries.plan(request("--models=onlyluma,sampler", "--chains=pairs"), "out")
    assert len(both) == len(single) + 4  # two orders, and each twice
    finished = entries.plan(
        request("--models=onlyluma,sampler", "--chains=onlyluma+sampler", "--finish"), "out"
    )
    chain = finished["onlyluma@all+sampler@all_finish"]
    last = finished[chain.links[1]]
    assert last.training.after == "onlyluma@all" and not last.shown


def test_a_chain_costs_what_its_networks_do():
    one = Cost(10, 30, 2.0, 1, {"8x8": 0.5, "9x9": 1.0}, {"8x8": 100})
    two = Cost(20, None, 3.0, 11, {"8x8": 0.25}, {"8x8": 300})
    together = Cost(30, None, 5.0, 12, {"8x8": 0.75}, {"8x8": 300})
    assert costs._sum(("a", "b"), {"a": one, "b": two}) == together
    twice = Cost(10, 30, 4.0, 2, {"8x8": 1.0, "9x9": 2.0}, {"8x8": 100})
    assert costs._sum(("a", "a"), {"a": one}) == twice


# From end to end.


def comparison_of(folder):
    """What report.py keeps."""
    from restore_tf.evaluation.comparison import report

    return report.read(folder)


@pytest.fixture
def with_toys(monkeypatch):
    """Trainings are processes of their own, which must know the toys, too."""
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(root)]))


@pytest.mark.slow
def test_toys_are_trained_scored_and_compared(data, tmp_path, with_toys, capfd):
    given = words(
        data,
        tmp_path / "out",
        "--chains=onlyluma+adversary",
        "--finish",
        models="onlyluma,adversary,sampler",
    )
    assert run(*given) == 0
    printed = capfd.readouterr().out
    found = comparison_of(tmp_path / "out")
    block = "folder_one_validation"
    assert [row.name for row in found.rows] == [
        "input",
        "unsharp",
        *(f"{model}@{block}" for model in ("onlyluma", "adversary", "sampler")),
        f"onlyluma@{block}+onlyluma@{block}",
        f"onlyluma@{block}+adversary@{block}",
        f"onlyluma@{block}+adversary@{block}_finish",
    ]
    assert not any(row.missing for row in found.rows)
    assert found.row(f"adversary@{block}").training.startswith("2 steps of 2 networks each")
    # The control: what the first network makes of its own output, by Python alone.
    import restore_tf
    from restore_tf.pictures.files import read_rgb

    network = restore_tf.load_model(tmp_path / "out" / "runs" / f"onlyluma@{block}")
    picture = read_rgb(data / "input" / "b" / "1.png")
    twice = restore_tf.restore(network, restore_tf.restore(network, picture))
    path = found.picture_path(block, f"onlyluma@{block}+onlyluma@{block}", "b/1")
    np.testing.assert_array_equal(read_rgb(path), twice)

    # Again: nothing is trained or restored, and the same is said.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("*.h5")}
    assert run(*given) == 0
    assert capfd.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in files} == files
    # Another folder: the same numbers and pictures.
    other = tmp_path / "other"
    assert run(*(str(each).replace(str(tmp_path / "out"), str(other)) for each in given)) == 0
    assert comparison_of(other).scores == found.scores
    pictures = sorted((tmp_path / "out" / "pictures").rglob("*.png"))
    for path in pictures:
        same = other / path.relative_to(tmp_path / "out")
        assert path.read_bytes() == same.read_bytes()


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others(data, tmp_path, with_toys, capfd):
    output = tmp_path / "out"
    block = "folder_one_validation"
    given = words(data, output, "--nocurves", models="onlyluma,adversary")
    (output / "runs").mkdir(parents=True)
    requests.claim(output / "claimed", request(*given))
    (output / "claimed" / requests.FILE_NAME).rename(output / requests.FILE_NAME)
    (output / "claimed").rmdir()
    # A record of its run that nobody can read.
    damaged = output / "runs" / f"onlyluma@{block}"
    damaged.mkdir()
    (damaged / experiments.FILE_NAME).write_text("{")
    assert run(*given) == compare.SOME_MISSING
    rows = {row.name: row for row in comparison_of(output).rows}
    assert "damaged or written by another version" in rows[f"onlyluma@{block}"].missing
    assert rows[f"adversary@{block}"].missing is None
    assert "missing (" in capfd.readouterr().err
    # Put right, the same command does what is left.
    shutil.rmtree(damaged)
    assert run(*given) == 0
    assert not any(row.missing for row in comparison_of(output).rows)


@pytest.mark.slow
def test_a_signal_ends_it_and_the_same_command_goes_on(data, tmp_path, with_toys):
    output = tmp_path / "out"
    given = [*words(data, output, "--nocurves", models="onlyluma"), "--steps=300"]
    command = [sys.executable, "-m", "restore_tf.commands.compare", *map(str, given)]
    log = output / "runs" / "onlyluma@folder_one_validation" / "metrics.csv"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not log.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == cli.INTERRUPTED
    assert "the same command goes on" in process.stderr.read()
    assert not (output / "scores.json").exists()
    assert run(*given) == 0
    assert comparison_of(output).rows[-1].training.startswith("300 steps")


@pytest.mark.slow
def test_a_run_against_itself_and_what_it_costs(data, tmp_path, with_toys):
    """Two copies of a run: every difference is 0, and so is its interval."""
    from restore_tf.evaluation.comparison import statistics

    assert run(*words(data, tmp_path / "first", "--nocurves")) == 0
    trained = tmp_path / "first" / "runs" / "onlyluma@folder_one_validation"
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    given = words(data, tmp_path / "out", "--cost", "--cost_sizes=32x24", models=None)
    assert run(*given, tmp_path / "one", tmp_path / "two") == 0
    found = comparison_of(tmp_path / "out")
    one, two = (found.scores[name]["folder_one_validation"] for name in ("one", "two"))
    assert one == two and statistics is not None
    cost = found.row("one").cost
    assert cost.parameters == 10  # a 3x3 convolution from one channel to one
    assert cost.gmacs_per_megapixel == pytest.approx(9e6 / 1e9, rel=1e-6)
    assert cost.seconds_per_megapixel["32x24"] > 0


@pytest.mark.slow
def test_equal_minutes_are_found_by_measuring(data, tmp_path, with_toys):
    given = words(data, tmp_path / "out", "--nocurves", "--budget=minutes", "--minutes=0.02")
    assert run(*given) == 0
    found = comparison_of(tmp_path / "out")
    (rate,) = (tmp_path / "out" / "calibration").glob("*.json")
    steps = round(60 * 0.02 * json.loads(rate.read_text())["steps_per_second"])
    assert found.rows[-1].training.startswith(f"{steps:,} steps")


@pytest.mark.slow
def test_as_typed(tmp_path):
    """The embedded pictures and a real network: less than a minute, no network."""
    given = ["--models=srcnn", "--steps=20", "--limit=2", "--nocost", f"--output={tmp_path / 'c'}"]
    assert run(*given) == 0
    found = comparison_of(tmp_path / "c")
    assert [len(block.pictures) for block in found.blocks] == [2, 2]
    names = [row.name for row in found.rows if row.kind == "run"]
    assert names == ["srcnn@synthetic_defocus", "srcnn@synthetic_motion", "srcnn@all"]
