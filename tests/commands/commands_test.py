"""The commands as typed: what they leave behind, and what they say to bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.commands import cli, evaluate, restore, train, training_plan
from restore_tf.commands.flags import model as model_flags
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.pictures import files

ROOT = Path(__file__).parents[2]
SRN = ["--model", "srn"]
TINY = [
    "--model=srn",
    "--set",
    "network.width=4",
    "--set",
    "network.res_blocks=1",
    "--set",
    "crop=32",
]


@pytest.mark.parametrize(
    ("machine", "given", "loaded", "words", "expected"),
    [
        ("x86_64", None, False, [], "1"),
        ("x86_64", None, True, [], None),
        ("x86_64", "0", False, [], "0"),
        ("aarch64", None, False, [], None),
        ("x86_64", None, False, ["--recipe=light"], "1"),
        ("x86_64", None, False, ["--dataset=synthetic", "--init_from=runs/srn"], "1"),
        # Measured: a validation on a whole frame would take more than ten times as long.
        ("x86_64", None, False, ["--dataset=gopro"], None),
        ("x86_64", None, False, ["--recipe=gopro"], None),
        ("x86_64", None, False, ["--recipe=light", "--dataset=gopro:blur,synthetic:shake"], None),
        ("x86_64", None, False, ["--recipe=quick", "--dataset=gopro"], "1"),
        ("x86_64", None, False, ["--model=mprnet"], "1"),
        ("x86_64", None, False, ["--model=mprnet", "--recipe=rain13k"], "1"),
        # Measured: its wide convolutions are slower with them.
        ("x86_64", None, False, ["--model=mprnet", "--recipe=gopro"], None),
        ("x86_64", None, False, ["--model=mprnet", "--dataset=gopro"], None),
        ("x86_64", None, False, ["--model=mprnet", "--init_from=runs/mprnet_published"], None),
    ],
)
def test_training_takes_onednns_kernels(monkeypatch, machine, given, loaded, words, expected):
    if not loaded:
        monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(train.platform, "machine", lambda: machine)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    values = train.define_flags()
    values(["train.py", "--model=srn", *words])
    train.use_onednn(values)
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected


@pytest.fixture(scope="module")
def gopro(tmp_path_factory):
    """A small GOPRO_Large in the published layout."""
    root = tmp_path_factory.mktemp("GOPRO_Large")
    random = np.random.default_rng(0)
    for split, sequence, count in [
        ("train", "GOPR0372_07_00", 3),
        ("train", "GOPR0374_11_00", 2),
        ("test", "GOPR0396_11_00", 2),
    ]:
        for number in range(count):
            sharp = random.integers(0, 256, (40, 56, 3), np.uint8)
            for kind, picture in [("sharp", sharp), ("blur", np.roll(sharp, 1, axis=1))]:
                path = root / split / sequence / kind / f"{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return root


@pytest.fixture(scope="module")
def run(gopro, tmp_path_factory):
    """A run directory made by train.py on the small GoPro."""
    workdir = tmp_path_factory.mktemp("runs") / "srn"
    assert train.main(training_words(gopro, workdir)) == 0
    return workdir


def training_words(gopro, workdir, *more):
    data = ["--dataset", "gopro", "--data_dir", str(gopro), "--recipe", "quick"]
    return ["train.py", *data, *TINY, "--workdir", str(workdir), "--steps", "2", *more]


def error_of(capsys, code, expected=cli.USER_ERROR):
    assert code == expected
    captured = capsys.readouterr().err.strip()
    line = captured.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in captured
    return line


def test_train_says_what_it_did(gopro, tmp_path, capsys):
    assert train.main(training_words(gopro, tmp_path / "run")) == 0
    captured = capsys.readouterr()
    assert (
        "Training srn by recipe quick on gopro/blur: 3 pairs, 2 held out, 2 steps" in captured.out
    )
    assert "Done: 2 steps. Best validation PSNR" in captured.out
    assert captured.err == ""  # progress is for terminals
    saved = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert saved["experiment"]["network"]["width"] == 4
    assert saved["run"]["data_dir"] == str(gopro)


def test_recipes_follow_the_data_set(gopro):
    def recipe(*words):
        values = train.define_flags()
        values(["train.py", "--model=srn", *words])
        experiment, _ = training_plan.experiment_of(values)
        return experiment.recipe, experiment.dataset, experiment.config

    assert recipe("--model", "srn") == ("quick", "synthetic", "defocus")
    assert recipe("--dataset", "gopro", "--data_dir", "x") == ("gopro", "gopro", "blur")
    assert recipe("--dataset", "synthetic") == ("gopro", "synthetic", "shake")
    assert recipe("--recipe", "quick", "--dataset", "reds") == ("quick", "reds", "blur")


@pytest.mark.parametrize(
    ("words", "steps", "warmup", "said"),
    [
        ([], 2000, 50, ""),
        (["--steps=60"], 60, 50, ""),  # fits
        (["--steps=50"], 50, 1, "warmup_steps: the recipe's 50 of 2000 become 1 of 50."),
        (["--steps=20"], 20, 0, "warmup_steps: the recipe's 50 of 2000 become 0 of 20."),
        (["--set=steps=20"], 20, 0, "warmup_steps: the recipe's 50 of 2000 become 0 of 20."),
        (["--steps=20", "--set=warmup_steps=50"], 20, 50, ""),  # an error later
        (["--steps=20", "--set=schedule_steps=2000"], 20, 50, ""),  # the beginning of a longer one
    ],
)
def test_a_shortened_training_shortens_its_warm_up(words, steps, warmup, said, caplog):
    values = train.define_flags()
    values(["train.py", "--model=mprnet", "--recipe=quick", *words])
    with caplog.at_level("INFO", logger="restore_tf"):
        experiment, _ = training_plan.experiment_of(values)
    assert (experiment.steps, experiment.warmup_steps) == (steps, warmup)
    assert caplog.messages == [said] * bool(said)


def test_evaluate_writes_every_score(run, gopro, capsys):
    words = ["evaluate.py", "--workdir", str(run), "--dataset", "gopro", "--data_dir", str(gopro)]
    assert evaluate.main(words) == 0
    out = capsys.readouterr().out
    for method in ("restored", "unsharp masking", "degraded input"):
        assert f"{method} " in out
    output = run / "evaluation" / "gopro_blur_test"
    scores = json.loads((output / "scores.json").read_text())
    assert "GOPR0396_11_00/000001" in json.dumps(scores)
    shown = output / "pictures"
    for kind in ("degraded", "restored", "sharp"):
        assert (shown / kind / "GOPR0396_11_00" / "000001.png").is_file()
    assert (output / "index.html").is_file()
    # The degraded input's PSNR, by scikit-image, from the files themselves.
    from skimage.metrics import peak_signal_noise_ratio

    folder = gopro / "test" / "GOPR0396_11_00"
    expected = np.mean(
        [
            peak_signal_noise_ratio(
                *(np.asarray(Image.open(folder / k / f"{n:06d}.png")) for k in ("sharp", "blur"))
            )
            for n in range(2)
        ]
    )
    assert f"{expected:.2f}" in next(line for line in out.splitlines() if line[:8] == "degraded")


def test_evaluate_keeps_the_worst_pictures(run, gopro):
    output = run / "limited"
    words = ["evaluate.py", "--workdir", str(run), "--output", str(output), "--pictures", "1"]
    assert evaluate.main([*words, "--metrics", "psnr"]) == 0
    scores = {}
    for line in (output / "scores.csv").read_text().splitlines()[1:]:
        name, _, _, method, psnr = line.split(",")[:5]
        if method == "restored":
            scores[name] = float(psnr)
    kept = [
        p.relative_to(output / "pictures/sharp")
        for p in (output / "pictures").rglob("sharp/**/*.png")
    ]
    assert [str(path.with_suffix("")) for path in kept] == [min(scores, key=scores.get)]


def test_restore_keeps_names_and_sizes(run, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    shapes = {"a.png": (7, 9, 3), "b.jpg": (33, 17, 3), "c.bmp": (16, 16)}
    for name, shape in shapes.items():
        files.write_picture(folder / name, np.full(shape, 99, np.uint8))
    (folder / "notes.txt").write_text("not a picture")
    words = ["restore.py", str(folder), "--workdir", str(run), "--output", str(tmp_path / "out")]
    assert restore.main([*words, "--strip"]) == 0
    assert "3 of 3 pictures restored" in capsys.readouterr().out
    for name, shape in shapes.items():
        assert files.read_picture(tmp_path / "out" / name).pixels.shape == shape
    strip = files.read_picture(tmp_path / "out" / "a_before_after.png").pixels
    assert strip.shape == (7, 9 + 8 + 9, 3)
    assert "exists; pass --overwrite" in error_of(capsys, restore.main(words))
    assert restore.main([*words, "--overwrite"]) == 0


def test_restore_equals_the_api(run, gopro, tmp_path):
    import restore_tf

    picture = gopro / "test" / "GOPR0396_11_00" / "blur" / "000000.png"
    words = ["restore.py", str(picture), "--workdir", str(run), "--output", str(tmp_path)]
    assert restore.main(words) == 0
    model = restore_tf.load_model(run)
    expected = restore_tf.restore(model, files.read_rgb(picture))
    np.testing.assert_array_equal(files.read_rgb(tmp_path / "000000.png"), expected)


def test_a_broken_picture_does_not_stop_the_others(run, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files.write_picture(tmp_path / "good.png", np.zeros((8, 8, 3), np.uint8))
    words = ["restore.py", str(tmp_path), "--workdir", str(run), "--output", str(tmp_path / "out")]
    code = restore.main(words)
    assert "broken.png: cannot be read" in error_of(capsys, code, pictures_flags.SOME_FAILED)
    assert (tmp_path / "out" / "good.png").is_file()


def test_restore_never_overwrites_its_input(run, tmp_path, capsys):
    path = tmp_path / "a.png"
    files.write_picture(path, np.zeros((8, 8, 3), np.uint8))
    before = path.read_bytes()
    words = ["restore.py", str(path), "--workdir", str(run), "--output", str(tmp_path)]
    assert "is an input" in error_of(capsys, restore.main([*words, "--overwrite"]))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (train, ["--modle", "srn"], "modle"),
        (train, ["--model", "srm"], "--model srm: no such paper"),
        (train, ["srn"], "unexpected argument"),
        (train, [], "--model: missing; there are "),
        (train, ["--steps", "many"], "steps"),
        (train, ["--steps", "0"], "steps"),
        (train, ["--seed", "4294967296"], "seed"),
        (train, ["--seed", "-1"], "seed"),
        (train, ["--local_workers", "65"], "local_workers"),
        (train, [*SRN, "--set", "bach=3"], "did you mean batch"),
        (train, [*SRN, "--dataset", "gopro"], "needs --data_dir"),
        (train, [*SRN, "--dataset", "gopro", "--data_dir", "/nowhere"], "/nowhere: no such folder"),
        (train, [*SRN, "--dataset", "flickr"], "no such data set; there are gopro"),
        (evaluate, [], "--dataset gopro: needs --data_dir"),
        (evaluate, ["--workdir", "/nowhere"], "/nowhere: not a run directory"),
        (restore, ["a.png", "--output", "o"], "a.png: no such file or folder"),
        (restore, ["--workdir", "w", "--output", "o"], "no pictures"),
        (restore, ["/nowhere.png", "--workdir", "w", "--output", "o"], "no such file or folder"),
    ],
)
def test_bad_input_is_one_line(command, words, message, capsys):
    assert message in error_of(capsys, command.main(["program", *words]))


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        ([], {}, "best checkpoint"),
        (["--stages=2"], {"stages": 2}, "best checkpoint, stages=2"),
        (["--set=network.stages=2"], {"stages": 2}, "best checkpoint, stages=2"),
        (["--local_attention"], {"local_attention": True}, "local_attention=True"),
        (["--local_attention_crop=96"], {"local_attention": 96}, "local_attention=96"),
        (["--set=network.local_attention=96"], {"local_attention": 96}, "local_attention=96"),
        (["--set=network.steps=8"], {"steps": 8}, "best checkpoint, steps=8"),
    ],
)
def test_options_of_inference(words, given, said):
    from absl import flags

    values = flags.FlagValues()
    model_flags.define(values)
    values(["x", *words])
    assert model_flags.arguments(values) == {"checkpoint": "best", "network": given}
    assert said in model_flags.describe(values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set=batch=2"], "--set batch=2: expected network.OPTION=VALUE"),
        (["--set=network.stages"], "expected network.OPTION=VALUE"),
        (["--set=network.=1"], "expected network.OPTION=VALUE"),
        (["--set=network.stages=1", "--stages=2"], "--stages is given, too"),
        (["--set=network.depth=1"], "network of srn: .*depth"),
    ],
)
def test_wrong_options_of_inference_are_one_line(run, tmp_path, capsys, words, message):
    words = [f"--workdir={run}", f"--output={tmp_path / 'out'}", *words]
    assert re.search(message, error_of(capsys, evaluate.main(["evaluate.py", *words])))
    assert not (tmp_path / "out").exists()


def test_an_unpaired_picture_is_named(gopro, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(gopro, copy)
    missing = copy / "train" / "GOPR0374_11_00" / "sharp" / "000001.png"
    missing.unlink()
    line = error_of(capsys, train.main(training_words(copy, tmp_path / "run")))
    assert "GOPR0374_11_00/blur/000001.png: no sharp picture of the same name" in line
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_continued_with_another_recipe(run, gopro, capsys):
    line = error_of(capsys, train.main(training_words(gopro, run, "--set", "batch=2")))
    assert "was started with batch=4, not 2" in line
    line = error_of(capsys, train.main(training_words(gopro, run, "--seed", "1")))
    assert "was started with seed=0, not 1" in line
    line = error_of(capsys, train.main(training_words(gopro, run, "--noresume")))
    assert "has a run already" in line


def test_a_foreign_weights_file_is_named(run, gopro, tmp_path, capsys):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "best.weights.h5").write_bytes(b"not HDF5")
    words = ["evaluate.py", "--workdir", str(copy)]
    assert "best.weights.h5: damaged" in error_of(capsys, evaluate.main(words))


def test_a_reader_that_leaves_ends_a_command_quietly():
    """As `restore-tf weights list | head -1` does."""
    program = "import sys; from restore_tf.commands import cli; sys.exit(cli.main())"
    command = [sys.executable, "-c", program, "weights", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.READER_GONE


def test_restore_tf_names_its_verbs(capsys):
    assert cli.main(["restore-tf"]) == cli.USER_ERROR
    assert cli.main(["restore-tf", "--help"]) == 0
    assert "train" in capsys.readouterr().out
    assert "needs --data_dir" in error_of(capsys, cli.main(["restore-tf", "evaluate"]))


@pytest.mark.slow
def test_quick_gains_on_held_out_pictures(tmp_path):
    """Under a quarter of the recipe's steps, on smaller crops, gain the 1.5 dB of the whole."""
    workdir = tmp_path / "run"
    command = [sys.executable, str(ROOT / "train.py"), "--model", "srn", "--steps", "450"]
    command += ["--set=crop=64", "--validate_every=225", "--validation_pictures=2"]
    done = subprocess.run(
        [*command, "--workdir", str(workdir)],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "recipe quick" in done.stdout
    assert done.stderr == ""
    assert evaluate.main(["evaluate.py", "--workdir", str(workdir), "--metrics", "psnr"]) == 0
    output = workdir / "evaluation" / "synthetic_defocus_test" / "scores.csv"
    means = {}
    for line in output.read_text().splitlines()[1:]:
        _, _, _, method, psnr = line.split(",")[:5]
        means.setdefault(method, []).append(float(psnr))
    gain = np.mean(means["restored"]) - np.mean(means["degraded"])
    assert gain > 1.5
    assert np.mean(means["restored"]) > np.mean(means["unsharp"])
