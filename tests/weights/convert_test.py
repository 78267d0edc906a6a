"""convert.py as typed, and what its run directories are good for."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

import restore_tf
from restore_tf.commands import cli, convert, evaluate, restore
from restore_tf.pictures import files
from srn_tf import convert as srn_convert
from srn_tf.model import SRN

PARITY = Path(__file__).parents[1] / "parity"
MPRNET = [
    *("--model", "mprnet", "--task", "deblurring"),
    *("--checkpoint", str(PARITY / "mprnet_small_dataparallel.pth")),
    *("--set", "network.n_feat=8", "--set", "network.scale_unetfeats=4"),
    *("--set", "network.scale_orsnetfeats=4", "--set", "network.num_cab=2"),
]


def srn(variant, checkpoint=None, width=4):
    prefix = PARITY / f"srn_{checkpoint or variant}_small"
    words = ["--model", f"srn_{variant}", "--checkpoint", str(prefix)]
    return [*words, "--set", f"network.width={width}"]


def run(words, output):
    return convert.main(["convert.py", *words, "--output", str(output)])


@pytest.fixture(scope="module")
def mprnet(tmp_path_factory):
    output, said = tmp_path_factory.mktemp("runs") / "mprnet", io.StringIO()
    with contextlib.redirect_stderr(said):
        assert run(MPRNET, output) == 0
    output.with_name("said").write_text(said.getvalue())
    return output


@pytest.mark.parametrize("variant", ["lstm", "gray", pytest.param("color", marks=pytest.mark.slow)])
def test_srn_runs_restore_as_published(variant, tmp_path, capsys):
    assert run(srn(variant), tmp_path / "run") == 0
    assert "no checksum agrees" in capsys.readouterr().out
    numbers = np.load(PARITY / f"srn_{variant}_small_io.npz")
    model = restore_tf.load_model(tmp_path / "run")
    picture = numbers["input"][0] if variant == "color" else numbers["input"][..., 0]
    picture = picture if variant == "color" else np.moveaxis(picture, 0, -1)
    expected = numbers["scale1"][0] if variant == "color" else numbers["scale1"][..., 0]
    expected = expected if variant == "color" else np.moveaxis(expected, 0, -1)
    restored = restore_tf.restore(model, picture)
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_run_says_where_its_weights_came_from(mprnet):
    import hashlib

    saved = json.loads((mprnet / "experiment.json").read_text())["run"]["converted"]
    expected = hashlib.sha256((PARITY / "mprnet_small_dataparallel.pth").read_bytes()).hexdigest()
    assert saved["files"] == {"mprnet_small_dataparallel.pth": expected}
    assert "non-commercial" in saved["terms"]
    assert "non-commercial" in mprnet.with_name("said").read_text()


def test_published_weights_are_recognised(monkeypatch, tmp_path, capsys):
    """With the table's checksums replaced by those of the parity file."""
    model = SRN(channels=1, recurrent=False, width=4)
    model.build()
    srn_convert.load_checkpoint(model, PARITY / "srn_gray_small")
    names = srn_convert.name_map(model)
    # The index of a TensorFlow checkpoint holds the same checksum of every tensor.
    index = (PARITY / "srn_gray_small.index").read_bytes()
    sums = {name: srn_convert.checksum(v.numpy()) for name, v in names.items()}
    assert all(bytes.fromhex(value)[::-1] in index for value in sums.values())
    table = tmp_path / "published.json"
    monkeypatch.setattr(srn_convert, "__file__", str(tmp_path / "convert.py"))
    table.write_text(json.dumps({"srn_gray": sums}))
    assert "published srn_gray, step 523000: all 84" in srn_convert.identify(model)
    table.write_text(json.dumps({"srn_gray": {**sums, next(iter(sums)): "00000000"}}))
    assert "83 of 84 checksums are those of srn_gray" in srn_convert.identify(model)


def test_the_published_table_names_every_weight():
    table = json.loads(Path(srn_convert.__file__).with_name("published.json").read_text())
    from srn_tf.model import VARIANTS

    for variant, checksums in table.items():
        model = SRN(**VARIANTS[variant], width=4)
        model.build()
        assert set(checksums) == set(srn_convert.name_map(model))


@pytest.mark.parametrize(
    "more",
    [
        ["--stages", "1"],
        pytest.param([], marks=pytest.mark.slow),
        pytest.param(["--local_attention"], marks=pytest.mark.slow),
    ],
)
def test_restore_takes_stages_and_local_attention(mprnet, more, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (22, 31, 3), np.uint8)
    files.write_picture(tmp_path / "a.png", picture)
    out = tmp_path / "out"
    words = [str(tmp_path / "a.png"), "--workdir", str(mprnet), "--output", str(out), *more]
    assert restore.main(["restore.py", *words]) == 0
    stages = int(more[1]) if "--stages" in more else None
    model = restore_tf.load_model(
        mprnet, stages=stages, local_attention="--local_attention" in more
    )
    padded = np.pad(picture, ((0, 2), (0, 1), (0, 0)), mode="reflect")[None] / np.float32(255)
    expected = np.clip(model(padded)[-1][0, :22, :31], 0, 1) * 255
    np.testing.assert_allclose(files.read_rgb(out / "a.png"), expected, atol=0.51)


def test_local_attention_has_the_crop_of_the_training(mprnet):
    model = restore_tf.load_model(mprnet, local_attention=True)
    assert model.get_config()["local_attention"] == 256


def test_srn_has_no_stages_to_choose(tmp_path, capsys):
    assert run(srn("gray"), tmp_path / "run") == 0
    words = [
        "a.png",
        "--workdir",
        str(tmp_path / "run"),
        "--output",
        str(tmp_path),
        "--stages",
        "1",
    ]
    files.write_picture(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8))
    words[0] = str(tmp_path / "b.png")
    words[4] = str(tmp_path / "out")
    assert restore.main(["restore.py", *words]) == cli.USER_ERROR
    assert "stages" in capsys.readouterr().err


def test_evaluate_takes_a_converted_run(mprnet, tmp_path, capsys):
    words = ["--workdir", str(mprnet), "--output", str(tmp_path / "scores"), "--metrics", "psnr"]
    words += ["--dataset", "folder", "--split", "test"]
    for kind in ("degraded", "sharp"):
        (tmp_path / kind).mkdir()
        files.write_picture(tmp_path / kind / "a.png", np.full((24, 32, 3), 99, np.uint8))
        words += [f"--{kind}_dir", str(tmp_path / kind)]
    assert evaluate.main(["evaluate.py", *words]) == 0
    assert "converted from mprnet_small_dataparallel.pth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (srn("color", "gray"), "choose the variant"),
        (srn("gray", width=8), "has shape"),
        (srn("gray", "absent"), "not a readable TensorFlow checkpoint"),
        ([*MPRNET[:6]], "does not fit|has shape"),
        (["--model", "srn_gray", "--checkpoint", "x", "--task", "deraining"], "--task deraining"),
        (["--model", "mprnet"], "--checkpoint: missing"),
        ([*MPRNET, "--set", "network.n_fat=3"], "n_fat"),
    ],
)
def test_failures_are_one_line_and_write_nothing(words, message, tmp_path, capsys):
    import re

    assert run(words, tmp_path / "sub" / "run") == cli.USER_ERROR
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert re.search(message, line)
    assert not list(tmp_path.rglob("*.h5"))
    assert not (tmp_path / "sub" / "run").exists()


def test_truncated_files_write_nothing(tmp_path, capsys):
    broken = tmp_path / "broken.pth"
    broken.write_bytes((PARITY / "mprnet_small_dataparallel.pth").read_bytes()[:50000])
    words = list(MPRNET)
    words[words.index("--checkpoint") + 1] = str(broken)
    assert run(words, tmp_path / "run") == cli.USER_ERROR
    assert "broken.pth" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_existing_output_is_kept(mprnet, capsys):
    before = sorted(path.name for path in mprnet.iterdir())
    assert run(MPRNET, mprnet) == cli.USER_ERROR
    assert "exists; pass another --output" in capsys.readouterr().err
    assert sorted(path.name for path in mprnet.iterdir()) == before
