"""What `restore-tf doctor` says of the installation and the machine."""

import importlib.metadata
import subprocess

import pytest
from packaging.requirements import Requirement

import restore_tf
from restore_tf.commands import cli, doctor


def test_everything_that_is_installed_and_here(capsys):
    assert doctor.main(["restore-tf doctor"]) == 0
    said = capsys.readouterr().out
    assert importlib.metadata.version("keras") in said
    assert "edge         installed" in said
    shipped = next(line for line in said.splitlines() if "maxim_deblurring_stage1" in line)
    assert "here" in shipped
    assert "TensorFlow sees" in said
    assert "missing:" not in said


def test_the_version_has_one_place(capsys):
    assert cli.main(["restore-tf", "--version"]) == 0
    version = importlib.metadata.version("restore_tf")
    assert capsys.readouterr().out == f"restore-tf {version}\n"
    assert restore_tf.__version__ == version


@pytest.mark.parametrize(
    "wanted, met, text",
    [
        ("numpy>=2", True, importlib.metadata.version("numpy")),
        ("numpy<1", False, f"{importlib.metadata.version('numpy')}, expected <1"),
        ("no-such-package-at-all", False, "not installed"),
    ],
)
def test_requirements(wanted, met, text):
    assert doctor.check_requirement(Requirement(wanted)) == (met, text)


def test_what_every_command_needs_is_apart_from_the_extras():
    needed = doctor.requirements()
    assert "tensorflow" in {requirement.name for requirement in needed[""]}
    assert "av" in {requirement.name for requirement in needed["video"]}


def test_a_missing_package_is_named_and_the_exit_code_says_so(capsys, monkeypatch):
    needed = {"": [Requirement("numpy<1")], "video": [Requirement("no-such-package-at-all")]}
    monkeypatch.setattr(doctor, "requirements", lambda: dict(needed))
    assert doctor.main(["restore-tf doctor"]) == doctor.SOMETHING_MISSING
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("missing: numpy ")
    line = next(line for line in said if line.strip().startswith("video"))
    assert "no-such-package-at-all not installed; pip install 'restore_tf[video]'" in line


def test_processor_features_are_those_of_lscpu():
    try:
        said = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no lscpu")
    line = next(line for line in said.splitlines() if line.startswith("Flags"))
    assert doctor.processor_features() == set(line.partition(":")[2].split())


def test_an_argument_is_refused(capsys):
    assert doctor.main(["restore-tf doctor", "now"]) == cli.USER_ERROR
    assert "error: now: unexpected argument" in capsys.readouterr().err
