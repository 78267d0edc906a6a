"""`restore-tf compare`: what it refuses, what it plans, and small comparisons from end to end."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_comparison import photos, request, run
from tiny_training import toys  # noqa: F401
from toy_comparison import from_tables

from restore_tf.commands import cli, compare
from restore_tf.commands.comparing import costs, entries, pairs, trainings
from restore_tf.commands.comparing import request as requests
from restore_tf.datasets.samples import Samples
from restore_tf.errors import UserError
from restore_tf.evaluation.comparison import report
from restore_tf.evaluation.comparison.results import Cost
from restore_tf.experiments import experiment as experiments


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos"))


# What is refused.


@pytest.mark.parametrize(
    "given, said",
    [
        ([], "--output: missing"),
        (["--output=out", f"--votes={__file__}"], "--votes: out holds no finished comparison"),
        (["--models=srm", "--output=out"], "--models srm: no such paper"),
        (["--models=srn_lstn", "--output=out"], "--models srn_lstn: srn has"),
        (["--models=srn:quik", "--output=out"], "--models srn:quik: srn has"),
        (["--models=srn,srn", "--output=out"], "--models srn: is given twice"),
        (["--models=srn", "--output=out", "--dataset=gopr"], "no such data set"),
        (["--models=srn", "--output=out", "--dataset=gopro"], "needs --data_dir"),
        (["--models=srn", "--output=out", "--dataset=synthetic:blurr"], "blurr"),
        (["--models=srn", "--output=out", "--test_on=synthetic:defocus"], "given twice"),
        (["--models=srn", "--output=out", "--test_on=synthetic:box/tset"], "expected a split"),
        (["--models=srn", "--output=out", "--dataset=synthetic:box/train"], "are no test"),
        (["--models=srn", "--output=out", "--metrics=psnrr"], "--metrics psnrr"),
        (["--models=srn", "--output=out", "--cost_sizes=512"], "expected WIDTHxHEIGHT"),
        (["--models=srn", "--output=out", "--chains=srn"], "joined by"),
        (["--models=srn", "--output=out", "--chains=srn+unet"], "unet is not among the networks"),
        (["--models=srn", "--output=out", "--chains=srn+unsharp"], "--chains: unsharp: expected"),
        (["--models=srn", "--output=out", "--chains=srn+unsharp:2"], "--chains: unsharp:2: exp"),
        (
            ["--models=srn", "--output=out", "--chains=srn+unsharp:2:150:3"],
            "--chains: unsharp:2:150:3: expected",
        ),
        (["--models=srn", "--output=out", "--chains=unsharp:2:1:3"], "joined by"),
        (
            ["--models=srn", "--output=out", "--chains=unsharp:2:1:3+unsharp:2:1:3"],
            "has no network",
        ),
        (
            "--models=srn --output=out --chains=srn+unsharp:2:1:3 --finish".split(),
            "without steps",
        ),
        (["--models=srn", "--output=out", "--finish"], "--finish: needs --chains"),
        (["--models=srn", "--output=out", "--votes=nowhere.csv"], "no such file"),
        (["--models=srn", "--output=out", "--crop=4096"], "smaller than the training crop"),
        (["--models=srn,edsr", "--output=out"], "compare networks of one scale"),
        (
            "--models=dncnn,srn --chains=srn+dncnn --finish --output=out".split(),
            "takes other channels or colours than srn@synthetic_defocus gives",
        ),
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
    with pytest.raises(UserError, match="was started with steps=1000, not 7; repeat its flags"):
        requests.claim(tmp_path / "new", other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="has files of other origin"):
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


def test_without_networks_five_light_ones_are_trained_on_each_of_two_kinds():
    found = list(entries.plan(request(), "out").values())
    models = ["deblurgan", "diffusion", "plain", "srn", "unet"]
    kinds = ["synthetic_defocus", "synthetic_motion"]
    assert [entry.name for entry in found] == [f"{m}@{kind}" for m in models for kind in kinds]
    assert {entry.training.recipe for entry in found} == {"quick"}
    assert request("some/run").models == ()  # given networks alone are compared


def test_without_networks_a_finished_comparison_is_written_anew(tmp_path, capsys):
    """One that lacks a row goes on where it is the one that the flags ask for."""
    found = from_tables({"psnr": {"input": [20.0, 21.0], "unet": [25.0, 26.0]}}, folder=tmp_path)
    rows = [found.rows[0], dataclasses.replace(found.rows[1], missing="no weights")]
    lacking = dataclasses.replace(found, rows=rows)
    report.write(found)
    assert run(f"--output={tmp_path}") == 0
    report.write(lacking)
    assert run(f"--output={tmp_path}") == compare.SOME_MISSING
    requests.claim(tmp_path / "claimed", request("--crop=4096"))
    (tmp_path / "claimed" / requests.FILE_NAME).rename(tmp_path / requests.FILE_NAME)
    assert run(f"--output={tmp_path}") == compare.SOME_MISSING
    capsys.readouterr()
    assert run(f"--output={tmp_path}", "--crop=4096") == cli.USER_ERROR
    assert "smaller than the training crop" in capsys.readouterr().err


def test_each_kind_all_of_them_and_chains_with_their_controls():
    given = request("--models=onlyluma,sampler", "--chains=onlyluma+sampler", "--train_per=both")
    found = entries.plan(given, "out")
    kinds = ["synthetic_defocus", "synthetic_motion", "all"]
    single = [f"{model}@{kind}" for model in ("onlyluma", "sampler") for kind in kinds]
    chains = ["onlyluma@all+onlyluma@all", "onlyluma@all+sampler@all"]
    assert list(found) == [*single, *chains]
    both = entries.plan(
        request("--models=onlyluma,sampler", "--chains=pairs", "--train_per=both"), "out"
    )
    assert len(both) == len(single) + 4  # two orders, and each twice
    finished = entries.plan(
        request(
            "--models=onlyluma,sampler",
            "--chains=onlyluma+sampler",
            "--finish",
            "--train_per=both",
        ),
        "out",
    )
    chain = finished["onlyluma@all+sampler@all_finish"]
    last = finished[chain.links[1]]
    assert last.training.after == "onlyluma@all" and not last.shown


def test_a_step_without_weights_is_a_link_and_a_row():
    given = request("--models=onlyluma", "--train_per=all", "--chains=onlyluma+unsharp:2:1.5:3")
    found = entries.plan(given, "out")
    step, chain = "unsharp_2_1.5_3", "onlyluma@all+unsharp_2_1.5_3"
    assert list(found) == ["onlyluma@all", step, "onlyluma@all+onlyluma@all", chain]
    assert found[step].shown and found[step].is_step and found[step].kind == "baseline"
    assert found[chain].label == "onlyluma + unsharp:2:1.5:3"
    assert (found[chain].trained_on, found[chain].rows) == ("all", ("onlyluma@all", step))
    first = entries.plan(request("--models=onlyluma", "--chains=unsharp:2:1.5:3+onlyluma"), "out")
    assert [name for name in first if "+" in name] == [
        f"{step}+onlyluma@synthetic_{kind}" for kind in ("defocus", "motion")
    ]
    pairs = "--chains=pairs,onlyluma+unsharp:2:1.5:3"
    several = entries.plan(request("--models=onlyluma,sampler", "--train_per=all", pairs), "out")
    assert [name for name in several if step in name] == [step, chain]


def test_a_chain_costs_what_its_networks_do():
    one = Cost(10, 30, 2.0, 1, {"8x8": 0.5, "9x9": 1.0}, {"8x8": 100})
    two = Cost(20, None, 3.0, 11, {"8x8": 0.25}, {"8x8": 300})
    together = Cost(30, None, 5.0, 12, {"8x8": 0.75}, {"8x8": 300})
    assert costs.together(("a", "b"), {"a": one, "b": two}) == together
    twice = Cost(10, 30, 4.0, 2, {"8x8": 1.0, "9x9": 2.0}, {"8x8": 100})
    assert costs.together(("a", "a"), {"a": one}) == twice
