"""Nothing is lost and nothing is left out in silence: commands on what users really have.

Each table is a kind of fault, each row another way to it.
"""

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from export_program import in_this_process
from PIL import Image

from restore_tf.commands import average, cli, convert, evaluate, export, train
from restore_tf.experiments import run_directory
from restore_tf.export import jobs
from restore_tf.system import outputs
from restore_tf.training.options import Result

TINY = [
    f"--set={assignment}"
    for assignment in (
        *("network.width=2", "network.res_blocks=0", "network.scales=1"),
        *("crop=32", "batch=1", "recurrent_clip_norm=None"),
    )
]
WHOLE = "--set=network.scales=3"  # takes multiples of 16, as the paper's
LISTS = ("scores.csv", "scores.json", "index.html")


def pairs(root, count=4, size=(40, 40), damage=None, sharp=None):
    """Writes input/ and target/; returns the folder.

    Args:
      root: where to.
      count: of pairs.
      size: (height, width).
      damage: called with the last degraded picture's path.
      sharp: the sharp picture's change of the degraded one; by default another picture.
    """
    random = np.random.default_rng(0)
    for number in range(count):
        picture = random.integers(0, 256, (*size, 3), np.uint8)
        partner = np.roll(picture, 1, axis=1) if sharp is None else sharp(picture)
        for kind, pixels in (("input", picture), ("target", partner)):
            path = root / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    if damage is not None:
        damage(root / "input" / f"{count - 1}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pairs(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A finished run of two steps; copy it before changing it."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert train.main(training(data, workdir, "--steps=2")) == 0
    return workdir


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def training(data, workdir, *more):
    words = ["--model=srn", "--recipe=quick", "--dataset=folder", f"--data_dir={data}", *TINY]
    return ["train.py", *words, f"--workdir={workdir}", *more]


def evaluation(run, data, output, *more):
    words = [f"--workdir={run}", "--dataset=folder", f"--data_dir={data}", f"--output={output}"]
    return ["evaluate.py", *words, *more]


def tree(folder):
    """{path: bytes} of everything below a folder, links as they are."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def one_line(capsys, code, expected=cli.USER_ERROR):
    """The last line of what was said, which must be the one error."""
    said = capsys.readouterr().err
    assert code == expected, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        said.strip().splitlines()[-1]
    ]
    return said.strip().splitlines()[-1]


# --- Results are swapped in; what another owns stays.


def _foreign_pictures(output):
    (output / "pictures").mkdir(parents=True)
    (output / "pictures" / "holiday.png").write_bytes(b"holiday")


def _foreign_scores(output):
    output.mkdir()
    (output / "scores.csv").write_text("mine")


def _linked_pictures(output):
    _foreign_pictures(output.parent / "album")
    output.mkdir()
    (output / "pictures").symlink_to(output.parent / "album" / "pictures")


def _linked_page(output):
    output.mkdir()
    (output.parent / "page.html").write_text("mine")
    (output / "index.html").symlink_to(output.parent / "page.html")


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (_foreign_pictures, "pictures"),
        (_foreign_scores, "scores.csv"),
        (_linked_pictures, "pictures"),
        (_linked_page, "index.html"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--metrics=psn"], ["--split=tset"], ["--checkpoint=bets"]])
def test_evaluate_keeps_what_it_did_not_write(run, data, tmp_path, capsys, prepare, named, more):
    output = tmp_path / "out"
    prepare(output)
    before = tree(tmp_path)
    line = one_line(capsys, evaluate.main(evaluation(run, data, output, *more)))
    assert more or str(output / named) in line
    assert tree(tmp_path) == before


def test_evaluate_does_not_delete_what_it_scores(run, data, tmp_path, capsys):
    output = tmp_path / "out"
    shutil.copytree(data, output / "pictures")
    before = tree(output)
    line = one_line(capsys, evaluate.main(evaluation(run, output / "pictures", output)))
    assert "is where the results go" in line
    assert tree(output) == before
    # Its own pictures of an earlier evaluation are no other case.
    output = tmp_path / "second"
    assert evaluate.main(evaluation(run, data, output, "--metrics=psnr")) == 0
    before = tree(output)
    shown = output / "pictures"
    words = [f"--degraded_dir={shown}/degraded", f"--sharp_dir={shown}/sharp"]
    words = [f"--workdir={run}", "--dataset=folder", *words, f"--output={output}"]
    assert "is where the results go" in one_line(capsys, evaluate.main(["evaluate.py", *words]))
    assert tree(output) == before


@pytest.mark.parametrize("place", ["input", "target", "input/deep/out", "link"])
def test_results_do_not_come_among_the_pictures(run, tmp_path, capsys, place):
    """There they would be pictures without a partner, or pairs of the next evaluation."""
    data = pairs(tmp_path / "data", count=2)
    (data / "link").symlink_to("target")
    before = tree(data)
    line = one_line(capsys, evaluate.main(evaluation(run, data, data / place)))
    assert f"{data / place}: is among the pictures to be scored" in line
    assert tree(data) == before
    assert evaluate.main(evaluation(run, data, data, "--metrics=psnr")) == 0  # beside them


def test_evaluate_replaces_its_own_results_alone(run, data, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate.main(evaluation(run, data, output, "--metrics=psnr")) == 0
    (output / "notes.txt").write_text("mine")
    (output / "pictures" / "mine.png").write_bytes(b"mine")
    assert evaluate.main(evaluation(run, data, output, "--metrics=mse", "--pictures=1")) == 0
    kept = sorted(path.name for path in (output / "pictures").rglob("*.png"))
    assert kept[-1] == "mine.png"
    assert len(kept) == 4  # degraded, restored and sharp of the worst one
    assert len(set(kept)) == 2
    assert (output / "notes.txt").read_text() == "mine"
    assert "mse" in (output / "scores.csv").read_text().splitlines()[0]
    # Without its record the folder is somebody's: an older version's, say.
    (output / outputs.MANIFEST).unlink()
    before = tree(output)
    line = one_line(capsys, evaluate.main(evaluation(run, data, output)))
    assert "move it away or pass another output" in line
    assert tree(output) == before


@pytest.mark.parametrize(
    ("words", "foreign", "said"),
    [
        (["--format=saved_model"], "serving/README.md", "serving: is in the way"),
        (["--format=saved_model"], "saved_model", "saved_model: cannot be made"),
        (["--format=saved_model"], "export.json", "export.json: damaged"),
        (["--format=tflite"], "tflite/srn_256x256_int8.tflite", "int8.tflite: exists; pass --over"),
        (["--format=tflite"], "tflite/srn_256x256_int8.json", "int8.json: exists; pass --over"),
        (
            ["--format=tflite", "--overwrite"],
            "tflite/srn_any_size_float32.tflite",
            "srn_any_size_float32.tflite: is in the way, and no record says",
        ),
        (["--format=tflite", "--overwrite"], "tflite/srn_256x256_int8.json", "json: is in the way"),
        (
            ["--format=tflite", "--size=250x256"],
            "other",
            "--size 250x256: srn takes multiples of 4",
        ),
        (["--calibrate=pictures"], "pictures/1.png", "1.png: cannot be read"),
    ],
)
def test_export_keeps_what_it_did_not_write(
    trained, tmp_path, capsys, monkeypatch, words, foreign, said
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    before = tree(tmp_path)
    words = ["export.py", f"--workdir={trained}", f"--output={tmp_path}", *words]
    assert said in one_line(capsys, export.main(words))
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_export_replaces_its_own_files_alone(run, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "run_in_process", in_this_process)  # starting one takes seconds
    output = tmp_path / "out"
    words = ["export.py", f"--workdir={run}", f"--output={output}", "--format=saved_model,tflite"]
    words += ["--size=32x32", "--kinds=float32", f"--calibrate={data / 'input'}"]
    assert export.main(words) == 0
    first = tree(output)
    files = {name for name in first if name.startswith("tflite/")}
    assert {name for name in files if name.endswith(".tflite")} == {
        "tflite/srn_32x32_float32.tflite",
        "tflite/srn_any_size_float32.tflite",
    }
    assert all(outputs.Record(output).owns(output / name) for name in files)
    assert (output / "serving" / "client.sh").stat().st_mode & 0o100
    capsys.readouterr()
    assert "exists; pass --overwrite" in one_line(capsys, export.main(words))
    assert tree(output) == first
    (output / "tflite" / "mine.txt").write_bytes(b"mine")
    assert export.main([*words, "--overwrite"]) == 0
    second = tree(output)
    assert set(second) - set(first) > {"tflite/mine.txt"}
    assert {name.partition("/")[0] for name in set(second) - set(first)} == {
        "tflite",
        "saved_model",
    }
    recorded = [entry["path"] for entry in json.loads(second["export.json"])["artefacts"]]
    assert recorded.count("saved_model/1") == recorded.count("saved_model/2") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_evaluation_changes_nothing(
    run, data, tmp_path, monkeypatch, request, number
):
    # Shells start what runs behind them with SIGINT ignored.
    known = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    output, handler = tmp_path / "out", known[number]
    request.addfinalizer(functools.partial(signal.signal, number, signal.signal(number, handler)))
    assert evaluate.main(evaluation(run, data, output, "--metrics=psnr")) == 0
    before = tree(output)

    def interrupt(*arguments):
        signal.raise_signal(number)

    monkeypatch.setattr("restore_tf.evaluation.score.score", interrupt)
    assert evaluate.main(evaluation(run, data, output)) == 128 + number  # as shells report it
    assert tree(output) == before
    assert signal.getsignal(number) == handler


# --- Finished weights are not trained over; the record is true.


def _without_checkpoints(run):
    shutil.rmtree(run / "checkpoints")


def _converted(run):
    """As convert.py leaves it: a record and weights."""
    for name in os.listdir(run):
        if name not in ("experiment.json", "best.weights.h5"):
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()


def _of_another_backend(run):
    _without_checkpoints(run)
    (run / "checkpoints").mkdir()
    np.savez(run / "checkpoints" / "fit_state.npz", **{"progress/step": 2})


def _without_list_and_indexes(run):
    """What is left of its checkpoints says nothing."""
    (run / "checkpoints" / "checkpoint").unlink()
    for path in (run / "checkpoints").glob("*.index"):
        path.unlink()


def _metrics_without_checkpoint(run):
    """As `_converted`, with the table of a training whose checkpoints and weights are gone."""
    rows = (run / "metrics.csv").read_bytes()
    _converted(run)
    (run / "best.weights.h5").unlink()
    (run / "metrics.csv").write_bytes(rows)


def _weights_alone(run):
    _converted(run)
    (run / "experiment.json").unlink()


def _foreign_metrics(run):
    _weights_alone(run)
    (run / "best.weights.h5").unlink()
    (run / "metrics.csv").write_text("step,cost\n1,2\n")


def _foreign_samples(run):
    _foreign_metrics(run)
    (run / "metrics.csv").unlink()
    (run / "samples").mkdir()
    (run / "samples" / "blood.txt").write_text("mine")


def _linked_weights(run):
    shutil.move(run / "best.weights.h5", run.parent / "published.h5")
    (run / "best.weights.h5").symlink_to(run.parent / "published.h5")


@pytest.mark.parametrize(
    "name", ["best.weights.h5", "metrics.csv", "samples", "tensorboard", "checkpoints"]
)
def test_what_a_resumed_training_cannot_write_is_found_before_it(run, data, capsys, name):
    """A folder where a file goes, or the other way round."""
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_bytes(b"mine")
    else:
        path.unlink()
        (path / "mine").mkdir(parents=True)
    before = tree(run)
    line = one_line(capsys, train.main(training(data, run, "--steps=3")))
    assert f"{path}: is in the way, expected a " in line
    assert tree(run) == before


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_without_checkpoints, "has weights (best.weights.h5) but no checkpoint"),
        (_converted, "has weights (best.weights.h5) but no checkpoint"),
        (_without_list_and_indexes, "has weights (best.weights.h5) but no checkpoint"),
        (_of_another_backend, "was trained on another Keras backend"),
        (_weights_alone, "has weights (best.weights.h5) but no checkpoint"),
        (_metrics_without_checkpoint, "metrics.csv: is in the way, and there is no checkpoint"),
        (_foreign_metrics, "metrics.csv: is in the way"),
        (_foreign_samples, "samples: is in the way"),
        (_linked_weights, "best.weights.h5: is a link"),
    ],
)
def test_training_refuses_what_it_would_replace(run, data, capsys, prepare, said):
    prepare(run)
    before = tree(run.parent)
    for more in ([], ["--noresume"], ["--steps=9"]):
        line = one_line(capsys, train.main(training(data, run, "--steps=2", *more)))
        assert said in line
    if (run / "experiment.json").exists() and "has weights" in said:
        assert f"--init_from {run}" in line  # which works, with another --workdir
    assert tree(run.parent) == before


def test_a_training_killed_before_its_first_checkpoint_is_resumed(data, tmp_path, monkeypatch):
    run = tmp_path / "run"

    class Killed(BaseException):
        """Ends a run as abruptly as a process' end would."""

    def kill(*arguments, **options):
        raise Killed

    from restore_tf.training.run_log import RunLog

    words = training(data, run, "--steps=4", "--validate_every=1", "--checkpoint_every=4")
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "advance", kill)  # within the first step
        with pytest.raises(Killed):
            train.main(words)
    assert run_directory.checkpoint_step(run) == 0
    drawn = (run / "checkpoints" / "ckpt-0.index").read_bytes()
    assert train.main([*words, "--steps=2"]) == 0
    assert (run / "checkpoints" / "ckpt-0.index").read_bytes() == drawn  # not begun anew
    assert run_directory.checkpoint_step(run) == 2


def test_a_record_alone_is_trained(run, data, capsys):
    """Of a training that was killed before it wrote anything else."""
    (run / "checkpoints" / "notes").write_text("")
    for name in os.listdir(run):
        if name not in ("experiment.json", "checkpoints"):
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    assert train.main(training(data, run, "--steps=2")) == 0


def test_fewer_steps_train_nothing_and_the_record_stays(run, data, capsys):
    before = tree(run)
    for steps in (1, 2):
        assert train.main(training(data, run, f"--steps={steps}")) == 0
        captured = capsys.readouterr()
        assert "is at step 2 already" in captured.out
        assert "now runs over" not in captured.out + captured.err
    assert tree(run) == before


def test_more_steps_are_recorded_when_they_are_trained(run, data, capsys, monkeypatch):
    def recorded():
        return json.loads((run / "experiment.json").read_text())["experiment"]["steps"]

    before = tree(run)
    (data / "input" / "extra.png").write_bytes(b"no partner")
    try:
        one_line(capsys, train.main(training(data, run, "--steps=3")))
    finally:
        (data / "input" / "extra.png").unlink()
    assert tree(run) == before
    assert train.main(training(data, run, "--steps=3")) == 0
    captured = capsys.readouterr()
    assert "was started for 2 steps; the learning rate now runs over 3" in captured.err
    assert "Done: 3 steps" in captured.out
    assert recorded() == 3


@pytest.mark.slow
def test_several_workers_keep_the_record_too(data, tmp_path):
    def steps(count):
        words = training(data, tmp_path / "run", f"--steps={count}", "--local_workers=2")
        command = [sys.executable, "-m", "restore_tf.commands.train", *words[1:], "--set=batch=2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "run" / "experiment.json").read_text())
        return record["experiment"]["steps"], done.stdout

    assert steps(2)[0] == 2
    recorded, said = steps(1)
    assert recorded == 2
    assert "is at step 2 already" in said
    assert steps(3)[0] == 3


# --- One bad picture does not cost the other scores.


def _cut_in_the_middle(path):
    """Right header and end, wrong in between: found by decoding alone."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)


def _tiny(path):
    for kind in ("input", "target"):
        Image.new("RGB", (9, 9)).save(path.parents[1] / kind / path.name)


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def _other_size(path):
    Image.new("RGB", (41, 40)).save(path)


@pytest.mark.parametrize("damage", [_cut_in_the_middle, _tiny])
def test_the_other_pictures_are_scored(run, tmp_path, capsys, damage):
    data = pairs(tmp_path / "data", count=3, damage=damage)
    output = tmp_path / "out"
    assert evaluate.main(evaluation(run, data, output)) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "warning: 1 of 3 pictures left out: 2"
    assert "2: left out (" in captured.err
    with open(output / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {"0", "1"}
    scores = json.loads((output / "scores.json").read_text())
    assert list(scores["provenance"]["left out"]) == ["2"]
    assert scores["provenance"]["split"] == "test (2 of 3 pictures)"


@pytest.mark.parametrize("damage", [_truncated, _other_size])
def test_what_shows_before_the_work_is_said_before_it(run, tmp_path, capsys, damage):
    data = pairs(tmp_path / "data", count=2, damage=damage)
    code = evaluate.main(evaluation(run, data, tmp_path / "out"))
    assert "1.png" in one_line(capsys, code)
    assert not (tmp_path / "out").exists()


def test_without_any_score_nothing_is_written(run, tmp_path, capsys):
    data = pairs(tmp_path / "data", count=1, damage=_tiny)
    code = evaluate.main(evaluation(run, data, tmp_path / "on the way" / "out"))
    assert "none of 1 pictures could be scored" in one_line(capsys, code)
    assert not (tmp_path / "on the way").exists()


# --- Outputs that cannot be made.


@pytest.mark.parametrize("place", ["a_file", "a_file/deep/er", "dead", "dead/deeper"])
@pytest.mark.parametrize("verb", ["train", "evaluate", "export", "convert", "average"])
def test_outputs_that_cannot_be_made_are_one_line(
    trained, data, tmp_path, capsys, monkeypatch, verb, place
):
    (tmp_path / "a_file").write_text("mine")
    (tmp_path / "dead").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    checkpoint = os.path.join(os.path.dirname(__file__), "parity", "srn_lstm_small")
    commands = {
        "train": (train, training(data, place, "--steps=1")),
        "evaluate": (evaluate, evaluation(trained, data, place)),
        "export": (export, ["export.py", f"--workdir={trained}", f"--output={place}"]),
        "convert": (
            convert,
            ["x", "--model=srn_lstm", f"--checkpoint={checkpoint}", f"--output={place}"],
        ),
        "average": (average, ["x", str(data / "input"), f"--output_dir={place}", "--window=1"]),
    }
    command, words = commands[verb]
    line = one_line(capsys, command.main(words))
    assert place in line
    assert "cannot be made (Not a directory: " in line
    assert tree(tmp_path) == {"a_file": b"mine", "dead": "nowhere"}


def test_read_only_folders_are_one_line(trained, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may all
    code = evaluate.main(evaluation(trained, data, tmp_path / "deep" / "out"))
    assert f"cannot be written (no permission for {tmp_path})" in one_line(capsys, code)


@pytest.mark.parametrize("number", [28, 30, 13, 122], ids=os.strerror)
def test_a_disk_that_refuses_is_one_line(capsys, number):
    from absl import flags

    def body(positional, values):
        raise OSError(number, os.strerror(number), "out/scores.csv")

    line = one_line(capsys, cli.run_command(body, flags.FlagValues(), ["x"], ""))
    assert line == f"error: out/scores.csv: {os.strerror(number)}."


def test_a_full_disk_during_an_evaluation(run, data, tmp_path, capsys, monkeypatch):
    def full(path, result):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restore_tf.evaluation.report.write_json", full)
    code = evaluate.main(evaluation(run, data, tmp_path / "out", "--metrics=psnr"))
    assert "No space left on device" in one_line(capsys, code)
    assert not (tmp_path / "out").exists()


# --- Ranges, and advice that works; the same on every Keras backend.


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["batch=0"], "batch takes 1 or more, not 0"),
        (["batch=-3"], "batch takes 1 or more, not -3"),
        (["crop=0"], "crop takes 1 or more, not 0"),
        (["crop=18"], "crop 18: srn takes multiples of 16; pass --set crop=16"),
        (["crop=8"], "pass --set crop=16"),
        (["crop=48"], "its shorter side of 40 pixels is smaller than the training crop of 48; "),
        (["crop=50"], "pass --set crop=32"),
        (["learning_rate=1e999"], "learning_rate takes a finite number"),
        (["ema_momentum=2"], "ema_momentum takes less than 1 or None"),
        (["progressive=[(0, 18, 1)]"], "pass --set progressive=… with 16"),
        (["warmup_steps=5"], "warmup_steps 5: not fewer than the 1 steps"),
        (["schedule=constant", "warmup_steps=1"], "warmup_steps 1: not fewer than the 1 steps"),
        (["loss=l3"], "loss l3: no such loss"),
        (["network.width=0"], "network of srn: "),
        (["network.scales=-1"], "network of srn: "),
        (["network.depth=3"], "network of srn: "),
    ],
)
def test_out_of_range_is_one_line(data, tmp_path, capsys, monkeypatch, backend, assignments, said):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.delattr("restore_tf.datasets.sources.cached")  # minutes, for nothing
    words = training(data, tmp_path / "on the way" / "run", "--steps=1", "--cache", WHOLE)
    words += [f"--set={assignment}" for assignment in assignments]
    assert said in one_line(capsys, train.main(words))
    assert not (tmp_path / "on the way").exists()


def test_an_unknown_augmentation(data, tmp_path, capsys):
    words = training(data, tmp_path / "run", "--steps=1", "--set=augment=flipp")
    assert "augment flipp: there are flip_rotate" in one_line(capsys, train.main(words))
    assert not (tmp_path / "run").exists()


def test_batches_that_do_not_divide(data, tmp_path, capsys):
    words = training(data, tmp_path / "run", "--steps=1", "--accumulate=2", "--set=batch=3")
    assert "pass --set batch=4" in one_line(capsys, train.main(words))
    assert not (tmp_path / "run").exists()


def test_pictures_too_small_for_the_network(tmp_path, capsys):
    small = pairs(tmp_path / "small", size=(12, 12))
    line = one_line(capsys, train.main(training(small, tmp_path / "run", "--steps=1", WHOLE)))
    assert "pictures of 12 pixels are too small; 16 is the least" in line
    assert "--set" not in line
    assert not (tmp_path / "run").exists()


# --- What a training says.


def test_a_damaged_picture_is_named_without_graph_nodes(tmp_path, capsys):
    data = pairs(tmp_path / "data", count=4)
    for number in range(3):
        _cut_in_the_middle(data / "input" / f"{number}.png")
    line = one_line(capsys, train.main(training(data, tmp_path / "run", "--steps=1")))
    assert ".png" in line or "one of the pair" in line
    assert "{{" not in line


def test_a_perfect_validation_has_no_gain_of_nan(tmp_path, capsys):
    data = pairs(tmp_path / "data", sharp=lambda picture: picture)
    assert train.main(training(data, tmp_path / "run", "--steps=1")) == 0
    out = capsys.readouterr().out
    assert "nan" not in out.lower()
    assert "The degraded validation pictures equal the sharp ones" in out


@pytest.mark.parametrize(
    ("best", "degraded", "said"),
    [
        (30.0, 28.5, "Best validation PSNR 30.00 dB, degraded input 28.50 dB (+1.50 dB)."),
        (float("inf"), 28.5, "Best validation: equal to the sharp pictures; degraded input 28.50"),
        (31.0, float("inf"), "The degraded validation pictures equal the sharp ones"),
        (float("inf"), float("inf"), "The degraded validation pictures equal the sharp ones"),
    ],
)
def test_the_gain_in_words(best, degraded, said):
    assert train.gain_in_words(Result(10, True, best, degraded)).startswith(said)
