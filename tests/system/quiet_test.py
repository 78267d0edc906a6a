import subprocess
import sys

import pytest

PROGRAM = """
import importlib, sys
from restore_tf.system import quiet
if {own}:
    quiet.declare_own_process()
quiet.import_tensorflow()
import keras
print(*sorted(set(quiet.NEEDLESS) & set(sys.modules)))
assert keras.ops.relu([-1.0, 2.0]).numpy().tolist() == [0, 2]
importlib.import_module({later!r})
"""


def imported(own, later):
    """What of `NEEDLESS` TensorFlow imports; `later` must be importable after that."""
    code = PROGRAM.format(own=own, later=later)
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_command_imports_tensorflow_without_what_it_does_not_use():
    pytest.importorskip("matplotlib", reason="needs restore_tf[plots]")
    assert imported(own=True, later="matplotlib") == []


def test_programs_of_others_keep_what_keras_imports():
    pytest.importorskip("pandas", reason="comes with restore_tf[app]")
    assert "pandas" in imported(own=False, later="pandas")


def test_what_is_imported_already_stays():
    code = "import pandas, sys; from restore_tf.system import quiet; quiet.declare_own_process(); "
    code += "quiet.import_tensorflow(); print(sys.modules['pandas'] is pandas)"
    pytest.importorskip("pandas", reason="comes with restore_tf[app]")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
