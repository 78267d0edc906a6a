"""The documents: links lead somewhere, flags and messages exist, the page on a new paper works.

`pages_test.py` runs the commands of README.md and the guides.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from page_blocks import SHELL, blocks
from PIL import Image

from restore_tf.commands import cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
PAGES += sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("*_tf/README.md"))
PAGES += sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("datasets/**/README.md"))
PAGES += ["CONTRIBUTING.md", "benchmarks/README.md"]

TINY = "--steps=1 --validate_every=1 --validation_pictures=1 --set=batch=1 --set=crop=32".split()


def commands(page):
    """Yields the command lines of a page's blocks, joined and uncommented."""
    for block in blocks(page):
        if block.language not in (*SHELL, "bash"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            line = line.strip()
            found = re.match(r"(?:\S*python3? )?(?:(\w+)\.py|restore-tf (\w+))(?: |$)", line)
            verb = found and (found[1] or found[2])
            if verb in cli.VERBS:
                rest = re.sub(r"\s#\s.*", "", line[found.end() :]).replace("…", "")
                if rest.count("'") % 2:  # the end of a command that another one quotes
                    rest = rest.replace("'", "")
                yield verb, shlex.split(rest), line


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 8 * 1024


def links():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            yield page, target


@pytest.mark.parametrize("page, target", sorted(set(links())))
def test_every_link_leads_somewhere(page, target):
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_exists(page):
    for verb, words, line in commands(page):
        values = importlib.import_module(f"restore_tf.commands.{verb}").define_flags()
        words = [word for word in words if not word.startswith("[")]
        try:
            values([verb, *words])
        except Exception as error:
            raise AssertionError(f"{page}: {line}: {error}") from None


def test_the_messages_of_the_troubleshooting_page_exist():
    folders = ("restore_tf", "datasets", *(str(p.name) for p in ROOT.glob("*_tf")))
    files = (path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py"))
    source = " ".join(path.read_text(encoding="utf-8") for path in files)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # literals that Python joins
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    first = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    quoted = [message for cell in first for message in re.findall(r"`([^`]+)`", cell)]
    parts = [part.strip() for message in quoted for part in re.split(r"…|\b[A-Z]\b", message)]
    assert len(parts) > 20
    assert [part for part in parts if len(part) >= 6 and part not in source] == []


@pytest.mark.slow
def test_the_page_on_a_new_paper_works(tmp_path, capfd):
    recipes, setup = (b.text for b in blocks("docs/adding_a_paper.md") if b.language == "python")
    source, installed = tmp_path / "source", tmp_path / "installed"
    (source / "vdsr_tf").mkdir(parents=True)
    (source / "vdsr_tf" / "__init__.py").touch()
    (source / "vdsr_tf" / "recipes.py").write_text(recipes)
    (source / "setup.py").write_text(setup)
    # Not -e, which would change the environment that runs the tests.
    install = "pip install -q --no-deps --no-build-isolation --target".split()
    done = subprocess.run([sys.executable, "-m", *install, str(installed), str(source)])
    assert done.returncode == 0, capfd.readouterr().err
    Image.fromarray(np.full((40, 56, 3), 90, np.uint8)).save(tmp_path / "photo.jpg")
    shorter = {
        "train": [*TINY, "--set=network.depth=3"],
        "evaluate": ["--limit=1"],
    }
    path = os.pathsep.join([str(installed), str(ROOT)])
    done = []
    for verb, words, _ in commands("docs/adding_a_paper.md"):
        if verb == "export":  # conformance exports every network
            continue
        command = [sys.executable, str(ROOT / f"{verb}.py"), *words, *shorter.get(verb, [])]
        environment = {**os.environ, "PYTHONPATH": path}
        result = subprocess.run(command, cwd=tmp_path, env=environment)
        assert result.returncode == 0, f"{verb}: {capfd.readouterr().err}"
        done.append(verb)
    assert done == ["train", "evaluate", "restore"]
    assert (tmp_path / "sharp.jpg").exists()
