"""Runs the blocks of a page on tiny data, in their order, in one folder."""

import glob
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zlib

import numpy as np
from page_blocks import ROOT
from PIL import Image

import restore_tf
from restore_tf.commands import cli

COMMAND = re.compile(r"(\w+)\.py(?: |$)")
SERVED = {
    "grpc": "grpc://localhost:8500",
    "rest": "http://localhost:8501",
    "app": "http://127.0.0.1:7860",
}


def named(unit):
    """A command in one form: `restore-tf evaluate`, `python evaluate.py` are `evaluate.py`."""
    unit = re.sub(r"^restore-tf (\w+)", r"\1.py", unit)
    return re.sub(r"^\S*python3? (?=\S+\.py( |$))", "", unit)


def listed(unit, table):
    """Returns the longest start of a command in a table that fits, or None."""
    fitting = [start for start in table if named(unit).startswith(named(start))]
    return max(fitting, key=len, default=None)


def picture(path, height=64, width=96, mode="RGB"):
    """Writes a smooth picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path.parent.parent.name).encode())  # no scene has another one's pictures
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.BICUBIC).convert(mode).save(path)


class Page:
    """A page's folder, with the servers that its commands started.

    Args:
      folder: where commands run.
      programs: a folder with `python` and `restore-tf`, as an active environment has them.
    """

    def __init__(self, folder, programs):
        self.folder, self.addresses, self.servers, self.trained = folder, {}, {}, 0
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        self.environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}

    def run(self, unit, more):
        """Runs a command line with further words; raises where it fails."""
        words = [self._word(word) for word in shlex.split(unit) if word != "…"]
        words += [self._word(word) for word in more]
        if words[0] == "make":
            return self._make(words[1])
        if words[:2] == ["restore-tf", "stream"] or words[0] not in ("python", "restore-tf"):
            return self._shell(unit, more)
        if words[1] == "-m" and words[2].startswith("restore_tf."):
            code = importlib.import_module(words[2]).main(words[3:])
        elif named(unit).startswith(("-m ", "python -m", "benchmarks/")):
            return self._shell(unit, more)
        else:
            verb = COMMAND.match(named(unit))[1]
            assert verb in cli.VERBS, unit
            if verb == "train" and "--workdir" not in unit:  # each has a folder of its own
                words = [word for word in words if not word.startswith("--workdir=")]
                self.trained += 1
                words.append(f"--workdir=runs/page_{self.trained}")
            command = importlib.import_module(f"restore_tf.commands.{verb}")
            code = command.main([f"{verb}.py", *words[2:]])
        assert not code, f"{unit}: exit code {code}"
        self._name_as_printed()

    def serve(self, unit):
        """Starts a server on free ports; an earlier one of its kind is stopped first."""
        kind = shlex.split(unit)[1]
        self.stop(kind)
        ports = ["--port", "0"] + (["--rest_api_port", "0"] if kind == "serve" else [])
        words = [self._word(word) for word in shlex.split(unit)]
        process = subprocess.Popen(
            [*words, *ports],
            cwd=self.folder,
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers[kind] = process
        said = []
        for line in process.stdout:
            said.append(line)
            if "ready" in line:
                break
        assert "ready" in said[-1], "".join(said)
        found = re.findall(r"((?:grpc|http)://[\w.]+:\d+)", "".join(said))
        names = ("grpc", "rest") if kind == "serve" else ("app",)
        self.addresses |= dict(zip((SERVED[name] for name in names), found, strict=False))

    def stop(self, *kinds):
        """Stops servers as a supervisor does; they must end well."""
        for kind in kinds or list(self.servers):
            process = self.servers.pop(kind, None)
            if process is not None:
                process.send_signal(signal.SIGTERM)
                said, _ = process.communicate(timeout=120)
                assert process.returncode == 0, said

    def python(self, code, changes):
        """Runs a block of Python with what its words stand for."""
        for old, new in (changes | self.addresses).items():
            code = code.replace(old, new)
        random = np.random.default_rng(0)
        degraded, sharp = random.random((2, 2, 64, 96, 3), np.float32)
        names = {"restore_tf": restore_tf, "np": np, "glob": glob, "Image": Image, "scores": []}
        names |= {"degraded": degraded[0], "sharp": sharp[0], "restored": sharp[0]}
        names |= {"pixels": np.zeros((8, 9, 3), np.uint8)}
        names |= {"jpeg_bytes": (self.folder / "blurry.jpg").read_bytes()}
        if "model.fit" in code:
            names |= {"degraded": degraded, "sharp": sharp}
        exec(compile(code, "page", "exec"), names)
        return names

    def _word(self, word):
        for old, new in self.addresses.items():
            word = word.replace(old, new)
        if re.fullmatch(r"(--\w+=)?RUN", word):
            return word.replace("RUN", "runs/srn_quick")
        word = word.replace("PICTURE_OR_FOLDER", "photo.jpg")
        return f"{ROOT}/{word}" if word.startswith("benchmarks/") else word

    def _shell(self, unit, more):
        unit = re.sub(r"(?<=\s)benchmarks/", f"{ROOT}/benchmarks/", unit)
        words = shlex.join(self._word(word) for word in more)
        line = unit.replace(" < ", f" {words} < ") if " < " in unit else f"{unit} {words}"
        if "stream" in unit and " < " not in unit:
            line += " < camera > display"
        environment = self.environment | {"SERVER": self.addresses.get(SERVED["rest"], "")}
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def _make(self, target):
        """Runs the commands of a target of the Makefile, those of the installation aside."""
        words = ["make", "-n", target, "VENV=venv"]  # prints and runs nothing
        made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        lines = re.sub(r"\\\n\s*", "", made.stdout).splitlines()
        lines = [line for line in lines if re.match(r"venv/bin/python \w+\.py ", line)]
        assert [named(line).split()[0] for line in lines] == [
            "train.py",
            "evaluate.py",
            "restore.py",
        ]
        return lines

    def _name_as_printed(self):
        """Gives small files for devices the names that the pages print."""
        for path in self.folder.glob("DIR/*/*_32x32_*"):
            for size in ("256x256", "720x1280"):
                name = path.name.replace("32x32", size)
                if path.parent.name == "openvino":  # without NNCF there is no file in 8 bits
                    name = name.replace("float32", "int8")
                copy = path.with_name(name)
                shutil.copy(path, copy)
                shutil.copy(path, self.folder / copy.name)


def programs(folder):
    """Writes `python` and `restore-tf` that run this checkout."""
    folder.mkdir()
    for name, words in (("python", ""), ("restore-tf", "-m restore_tf")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        path.chmod(0o755)
    return folder
