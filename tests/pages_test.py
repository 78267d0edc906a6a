"""Every block of README.md and the guides is run on tiny data, or listed with a reason.

`page_commands.py` has the lists, `page_runner.py` runs a page in a folder of its own.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import page_commands as lists
import pytest
from export_program import in_this_process
from page_blocks import ROOT, blocks, pages
from page_runner import Page, listed, picture, programs

from restore_tf.commands import train
from restore_tf.experiments import experiment
from restore_tf.export import jobs
from restore_tf.export.plan import rates


def units(page):
    """(language, unit) of a page's blocks: a command line, or a whole script."""
    return [(block.language, unit) for block in blocks(page) for unit in block.units()]


def run_table(page):
    return {**lists.RUN[""], **lists.RUN.get(page, {})}


def how(page, language, unit):
    """How a unit is treated; "" where no list has it."""
    if listed(unit, lists.ELSEWHERE):
        return "elsewhere"
    run, left_out = listed(unit, run_table(page)), listed(unit, lists.NOT_RUN)
    if left_out and len(left_out) > len(run or ""):
        return "not run"
    if unit.startswith(lists.SERVERS):
        return "server"
    if unit.startswith(lists.CLIENTS):
        return "command"
    if language in ("", "sh"):
        return "" if run is None else "command"
    return {"python": "python"}.get(language, "script" if (page, language) in SCRIPTS else "")


@pytest.mark.parametrize("page", pages())
def test_every_block_is_run_or_listed(page):
    assert [unit for language, unit in units(page) if not how(page, language, unit)] == []


def test_the_lists_hold_nothing_else():
    for name in ("ELSEWHERE", "NOT_RUN"):
        table = getattr(lists, name)
        used = {listed(unit, table) for page in pages() for _, unit in units(page)}
        assert set(table) - used == set(), name
    for page, table in lists.RUN.items():
        found = [(p, unit) for p in pages() if page in ("", p) for _, unit in units(p)]
        used = {listed(unit, run_table(p)) for p, unit in found}
        assert set(table) - used == set(), page


@pytest.mark.parametrize("place", sorted(set(lists.ELSEWHERE.values())))
def test_the_other_tests_exist(place):
    path, _, name = place.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def slurm(text, folder):
    """Runs the job script with a stand-in for the cluster; returns each task's TF_CONFIG."""
    stand_ins = {
        "scontrol": "printf 'node1\\nnode2\\n'",
        "srun": 'for id in 0 1; do SLURM_PROCID=$id "$@"; done',
        "python": f'case $1 in -c) exec {sys.executable} "$@";; esac; echo "$TF_CONFIG"',
    }
    return run_script(text, folder, stand_ins, SLURM_JOB_NODELIST="node[1-2]")


def kubernetes(text, folder):
    """Runs the worker's script as each pod would; returns each one's TF_CONFIG."""
    script = lists.worker_script(text).replace("exec python", "python")
    stand_ins = {"python": 'echo "$TF_CONFIG"'}
    return "".join(run_script(script, folder, stand_ins, HOSTNAME=f"srn-{n}") for n in (0, 1))


def run_script(text, folder, stand_ins, **variables):
    folder.mkdir(exist_ok=True)
    for name, body in stand_ins.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    path = {"PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}
    done = subprocess.run(
        ["bash", "-ec", text], env=os.environ | path | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SCRIPTS = {
    ("docs/distributed.md", "bash"): (slurm, ["node1:12345", "node2:12345"]),
    ("docs/distributed.md", "yaml"): (kubernetes, ["srn-0.srn:12345", "srn-1.srn:12345"]),
}


@pytest.mark.parametrize("place", SCRIPTS)
def test_scripts_of_clusters_give_every_worker_its_place(place, tmp_path):
    start, hosts = SCRIPTS[place]
    text = next(b.text for b in blocks(place[0]) if b.language == place[1])
    configs = [lists.cluster_config(line) for line in start(text, tmp_path / "bin").splitlines()]
    assert configs == [(hosts, 0), (hosts, 1)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with whatever the pages' words stand for; small enough to be copied."""
    folder = tmp_path_factory.mktemp("world")
    for split, scenes in (("train", "ab"), ("test", "c")):
        for name in [f"{s}/{k}/{n:06d}" for s in scenes for k in ("blur", "sharp") for n in (0, 1)]:
            picture(folder / f"DIR/GOPRO_Large/{split}/{name}.png")
    pairs = [f"{kind}/{scene}/1.png" for kind in "AB" for scene in "st"]
    reds = ["DIR/REDS/val_000/blur/1.png", "DIR/REDS/val_000/sharp/1.png"]
    for name in (
        *pairs,
        *reds,
        "a.tif",
        "photo.jpg",
        "blurry.jpg",
        "photos/1.jpg",
        "photos/m/2.jpg",
    ):
        picture(folder / name)
    for number in range(4):
        picture(folder / f"PHOTOS/{number}.png", 256, 256)
    picture(folder / "set12/01.png", mode="L")
    picture(folder / "set5/1.png")
    shutil.copytree(folder / "A", folder / "DEGRADED")
    shutil.copytree(folder / "B", folder / "SHARP")
    (folder / "PASSWORDS").write_text("ada:p4ss\n")
    frames = np.random.default_rng(0).integers(16, 235, 3 * 32 * 48, np.uint8)
    (folder / "camera").write_bytes(frames.tobytes())
    for source, name in (
        ("srn_lstm_small.index", "deblur.model-523000.index"),
        ("srn_lstm_small.data-00000-of-00001", "deblur.model-523000.data-00000-of-00001"),
        ("mprnet_small.pth", "model_deblurring.pth"),
    ):
        shutil.copy(ROOT / "tests" / "parity" / source, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main(["train.py", "--model=srn", *lists.SRN]) == 0
    for name in ("a", "b", "denoise", "deblur"):
        shutil.copytree(folder / "runs/srn_quick", folder / "runs" / name)
    return folder


@pytest.fixture
def place(world, tmp_path, monkeypatch):
    """A page's own copy of the world. Exports share this process, and a plan measures one run."""
    monkeypatch.setattr(jobs, "run_in_process", in_this_process)
    monkeypatch.setattr(rates, "SECONDS", 0.001)
    folder = tmp_path / "page"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    page = Page(folder, programs(tmp_path / "bin"))
    yield page
    page.stop()


@pytest.fixture(scope="module")
def ran():
    """What of `lists.ONCE` was run."""
    return set()


def prepare(page, place):
    """What single pages need besides."""
    if page == "docs/restoring.md":
        av = pytest.importorskip("av", reason="needs restore_tf[video]")
        with av.open("clip.mp4", "w") as file:
            stream = file.add_stream("h264", rate=25, width=96, height=64, pix_fmt="yuv420p")
            for number in range(24):
                pixels = np.full((64, 96, 3), 10 * number, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            file.mux(stream.encode(None))
    if page in ("docs/devices.md", "docs/exporting.md"):
        pytest.importorskip("ai_edge_litert", reason="needs restore_tf[edge]")
    if page == "docs/exporting.md":
        pytest.importorskip("openvino", reason="needs restore_tf[openvino]")
    if page == "docs/devices.md":
        words = "--format tflite --size 32x32 --kinds uint8 --max_psnr_drop 99"
        place.run(f"python export.py --workdir RUN --output DIR {words}", [])
    if page in ("docs/training.md", "docs/results.md"):
        pytest.importorskip("matplotlib", reason="needs restore_tf[plots]")
    if page in ("docs/serving.md", "docs/exporting.md", "README.md"):
        pytest.importorskip("tensorflow_serving", reason="needs restore_tf[serve]")
    if page in ("docs/app.md", "README.md"):
        pytest.importorskip("gradio", reason="needs restore_tf[app]")


RUN_PAGES = [
    page
    for page in pages()
    if {how(page, *unit) for unit in units(page)} & {"command", "server", "python"}
]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a page is up to ten commands
@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_blocks_of_a_page_run(page, place, ran, monkeypatch):
    load = experiment.load_recipe

    def tiny(*names):
        recipe = load(*names)
        network = recipe.network | {"width": 4, "res_blocks": 0}
        return dataclasses.replace(recipe, network=network, steps=1, batch=1, crop=32)

    prepare(page, place)
    for language, unit in units(page):
        kind, once = how(page, language, unit), listed(unit, lists.ONCE)
        if once in ran and kind == "command":
            continue
        ran |= {once} - {None}
        if kind == "server":
            place.serve(unit)
        elif kind == "command":
            table = run_table(page)
            more = table.get(listed(unit, table), [])
            lines = place.run(re.sub(r"\[(--\w+)\]", "", unit), more)
            for line in lines or ():  # of a Makefile
                name = next(n for n in ("train", "evaluate", "restore") if f" {n}.py " in line)
                place.run(re.sub(r"^\S+", "python", line), lists.MAKE[name])
        elif kind == "python":
            with monkeypatch.context() as patch:
                patch.setattr(experiment, "load_recipe", tiny)
                place.python(unit, {})
