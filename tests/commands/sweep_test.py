"""Sweeps: trainings that differ in a field, in one table and one picture."""

import csv

import pytest
from PIL import Image
from tiny_training import folders
from tiny_training import rows as metrics

from restore_tf.commands import cli, sweep
from restore_tf.errors import UserError
from restore_tf.training import sweep as outcomes

SMALL = "network.width=4 network.res_blocks=1 network.scales=1 batch=2 crop=16".split()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    data = folders(tmp_path_factory.mktemp("pairs"), count=3, side=32)
    small = [f"--set={each}" for each in SMALL]
    steps = ["--steps=4", "--log_every=2", "--validate_every=2", "--validation_pictures=1"]
    return ["--model=srn", "--recipe=quick", *data, *small, *steps]


def run(words, *more):
    return sweep.main(["restore-tf sweep", *words, *more])


@pytest.mark.slow
def test_two_rates_end_in_one_table_and_one_picture(words, tmp_path, capfd):
    output = tmp_path / "rates"
    rates = "--over=learning_rate=1e-3,1e-30"
    assert run(words, rates, f"--output={output}") == 0
    with open(output / "table.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert [first["setting"], second["setting"]] == ["learning_rate=1e-3", "learning_rate=1e-30"]
    assert first["step"] == second["step"] == "4"
    # At a rate of nothing the network stays what it was drawn as: the last loss is the first.
    assert float(second["loss"]) > float(first["loss"])
    rows = metrics(output / first["workdir"])
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert float(first["loss"]) == pytest.approx(losses[-1], rel=1e-5)
    best = max(float(row["psnr"]) for row in rows if row["psnr"])
    assert float(first["best_psnr"]) == pytest.approx(best, rel=1e-5)
    with Image.open(output / "curves.png") as picture:
        assert picture.width > 1000
    said = capfd.readouterr().out
    assert f"curves: {output}" in said

    # The same command finds everything done, and its own table in the way.
    assert run(words, rates, f"--output={output}") == 0
    assert "trains nothing" in capfd.readouterr().out


@pytest.mark.parametrize(
    "over, said",
    [
        ("learning_rate", "expected field=value,value"),
        ("learning_rate=1e-3,", "expected field=value,value"),
        ("learning_rate=1e-3,1e-3", "a value occurs twice"),
        ("learning_rat=1e-3,1e-4", "no such field"),
        ("batch=2,0", "batch"),
        ("crop=16,4096", "crop"),
    ],
)
def test_what_no_training_could_do_is_refused_before_the_first(words, tmp_path, capsys, over, said):
    assert run(words, f"--over={over}", f"--output={tmp_path / 'out'}") == cli.USER_ERROR
    error = capsys.readouterr().err.splitlines()
    assert said in error[-1] and error[-1].startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_a_foreign_table_stays(words, tmp_path, capsys):
    (tmp_path / "table.csv").write_text("mine")
    assert run(words, "--over=batch=2,3", f"--output={tmp_path}") == cli.USER_ERROR
    assert "is in the way" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_every_combination():
    assert outcomes.settings(["batch=2,4", "crop=16,32"]) == [
        ("batch=2", "crop=16"),
        ("batch=2", "crop=32"),
        ("batch=4", "crop=16"),
        ("batch=4", "crop=32"),
    ]
    with pytest.raises(UserError, match="batch is swept twice"):
        outcomes.settings(["batch=2,4", "batch=8"])


def test_one_that_failed_is_named_beside_the_others(tmp_path):
    rows = [{"step": str(k), "loss": str(1 / k), "psnr": ""} for k in range(1, 11)]
    rows[-1] |= {"psnr": "30.5", "psnr_degraded": "28.0"}
    good = outcomes.Outcome("batch=2", tmp_path / "a", rows)
    bad = outcomes.Outcome("batch=4", tmp_path / "b", failed="train ended with exit code 2")
    assert (good.step, good.best_psnr, good.psnr_degraded) == (10, 30.5, 28.0)
    assert good.loss == pytest.approx(0.1)  # of the last tenth: step 10 alone
    _, first, second = outcomes.format_table([good, bad]).splitlines()
    assert "30.50" in first and "+2.50 *" in first
    assert second.endswith("failed: train ended with exit code 2")
    outcomes.draw_curves([good, bad], tmp_path / "curves.png")
    outcomes.write_table([good, bad], tmp_path / "table.csv")
    assert "batch=4,0,,,,,b,train ended" in (tmp_path / "table.csv").read_text()
