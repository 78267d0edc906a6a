"""Arrays out of pickles: what is read, and that nothing else is."""

import collections
import os
import pickle
import struct

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.system import array_pickle

ARRAYS = {
    "Net_0": {
        "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "bias": np.arange(3, dtype=">f8"),
    },
    "scale": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
}


def written(path, content, protocol=3):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_nested_dicts_of_arrays_come_back(tmp_path, protocol):
    found = array_pickle.read(written(tmp_path / "a", ARRAYS, protocol))
    assert set(found) == {"Net_0/kernel", "Net_0/bias", "scale"}
    for name, expected in {**ARRAYS["Net_0"], "scale": ARRAYS["scale"]}.items():
        array = found[name if name == "scale" else f"Net_0/{name}"]
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype.newbyteorder("=")


def test_the_older_numpys_name_is_taken(tmp_path):
    program = pickle.dumps(ARRAYS, 3)
    assert b"cnumpy._core.multiarray\n" in program
    old = program.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert len(array_pickle.read(written(tmp_path / "a", old))) == 3


class Runs:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


def _itself():
    content = {}
    content["a"] = content
    return content


def _many():
    content = {"a": np.zeros(1, np.float32)}
    for _ in range(7):
        content = {str(key): content for key in range(10)}
    return content


def _changed(program, old, new):
    assert program.count(old) == 1
    return program.replace(old, new)


ONE = pickle.dumps(np.zeros(3, np.float32), 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (collections.OrderedDict(a=np.zeros(1)), "it asks for collections.OrderedDict"),
        ({"a": np.array([{}], object)}, "not read"),
        ({"a": np.zeros(2, np.int64)}, "it calls numpy.dtype in a way of its own"),
        ({"a": np.zeros(2, [("x", "f4")])}, "it calls numpy.dtype in a way of its own"),
        ({"a": [np.zeros(2)]}, "its pickle uses "),
        ({"a": 3}, "it holds something else than dicts of arrays"),
        ({1: np.zeros(2)}, "it holds something else"),
        (_itself(), "nested too deep"),
        (_many(), "nested too deep, or hold too much"),
        (ONE[:-10], "damaged, or no pickle of arrays"),
        (b"", "damaged, or no pickle of arrays"),
        (b"\x89HDF\r\n", "damaged, or no pickle of arrays"),
        # More numbers than there are: nothing is reserved for them.
        (_changed(ONE, b"K\x01K\x03\x85", b"K\x01J\xff\xff\xff\x7f\x85"), "damaged"),
        # A memo index that Python's unpickler would reserve 34 GB for.
        (b"\x80\x03}r" + struct.pack("<I", 2**31) + b".", "numbers its memo out of order"),
    ],
)
def test_everything_else_is_refused_in_one_line(tmp_path, content, said):
    path = written(tmp_path / "a.ckpt", content)
    with pytest.raises(UserError) as caught:
        array_pickle.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_run(tmp_path):
    trap = tmp_path / "trap"
    with pytest.raises(UserError, match=r"it asks for \w+.system"):
        array_pickle.read(written(tmp_path / "a", {"a": Runs(trap)}))
    assert not trap.exists()


def test_large_and_missing_files_are_named(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(UserError, match="is larger than 256 MB; not read"):
        array_pickle.read(tmp_path / "a")
    with pytest.raises(UserError, match="b: cannot be read"):
        array_pickle.read(tmp_path / "b")
