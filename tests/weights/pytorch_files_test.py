"""PyTorch checkpoints: real ones, hand-made ones, hostile and broken ones."""

import collections
import copyreg
import io
import math
import os
import pickle
import sys
import tarfile
import types
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from restore_tf.errors import UserError
from restore_tf.weights.pytorch_files import read_state_dict

PARITY = Path(__file__).parents[1] / "parity"
NUMBERS = np.arange(24, dtype=np.float32)
KINDS = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "c8",
}


# A writer of torch.save's zip form, without torch.


class Storage:
    def __init__(self, kind, numbers):
        self.kind = kind
        self.numbers = np.asarray(numbers, KINDS[kind])


class Tensor:
    """A view of a storage, pickled the way torch.Tensor is."""

    def __init__(self, storage, size, stride, offset=0):
        self.arguments = (storage, offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(numbers, kind="FloatStorage"):
    numbers = np.ascontiguousarray(numbers, KINDS[kind]).reshape(np.shape(numbers))
    stride = tuple(step // numbers.itemsize for step in numbers.strides)
    return Tensor(Storage(kind, numbers.ravel()), numbers.shape, stride)


def fake_torch():
    """Modules with the few names that the pickler looks up."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in KINDS:
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    return {"torch": torch, "torch._utils": utils}


def pickled(content, protocol=2):
    """Returns the pickle, and the storages by key."""
    storages, modules = [], fake_torch()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            if value not in storages:
                storages.append(value)
            kind, key = getattr(modules["torch"], value.kind), str(storages.index(value))
            return "storage", kind, key, "cpu", value.numbers.size

    buffer = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        Pickler(buffer, protocol).dump(content)
    return buffer.getvalue(), {str(key): storage for key, storage in enumerate(storages)}


def write_zip(path, program, entries=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        for name, value in dict(entries).items():
            archive.writestr(f"archive/{name}", value)
    return path


def save(path, content, protocol=2, order=None, **kwargs):
    program, storages = pickled(content, protocol)
    wanted = ">" if order == "big" else "<"
    entries = {
        f"data/{key}": s.numbers.astype(s.numbers.dtype.newbyteorder(wanted)).tobytes()
        for key, s in storages.items()
    }
    if order:
        entries["byteorder"] = order
    return write_zip(path, program, entries, **kwargs)


def refused(path, match, **kwargs):
    """Reads a file that must be refused in one line that names it."""
    with pytest.raises(UserError, match=match) as caught:
        read_state_dict(path, **kwargs)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


# Files that PyTorch 2.13.0 wrote.


def mprnet_shapes(f, s, o, num_cab, reduction):
    """Names and shapes of MPRNet's weights, from the paper's figures and the published names."""
    shapes = {}

    def conv(name, outputs, inputs, size=1):
        shapes[f"{name}.weight"] = (outputs, inputs, size, size)

    def cab(name, n):
        conv(f"{name}.body.0", n, n, 3)
        shapes[f"{name}.body.1.weight"] = (1,)
        conv(f"{name}.body.2", n, n, 3)
        conv(f"{name}.CA.conv_du.0", n // reduction, n)
        conv(f"{name}.CA.conv_du.2", n, n // reduction)

    widths = {1: f, 2: f + s, 3: f + 2 * s}
    for stage in (1, 2, 3):
        conv(f"shallow_feat{stage}.0", f, 3, 3)
        cab(f"shallow_feat{stage}.1", f)
    for stage in (1, 2):
        for level, n in widths.items():
            for block in (0, 1):
                cab(f"stage{stage}_encoder.encoder_level{level}.{block}", n)
                cab(f"stage{stage}_decoder.decoder_level{level}.{block}", n)
            if stage == 2:
                conv(f"stage2_encoder.csff_enc{level}", n, n)
                conv(f"stage2_encoder.csff_dec{level}", n, n)
        for level in (1, 2):
            conv(
                f"stage{stage}_encoder.down{level}{level + 1}.down.1",
                widths[level + 1],
                widths[level],
            )
            conv(
                f"stage{stage}_decoder.up{level + 1}{level}.up.1", widths[level], widths[level + 1]
            )
            cab(f"stage{stage}_decoder.skip_attn{level}", widths[level])
    for level in (1, 2, 3):
        for block in range(num_cab):
            cab(f"stage3_orsnet.orb{level}.body.{block}", f + o)
        conv(f"stage3_orsnet.orb{level}.body.{num_cab}", f + o, f + o, 3)
        for side in ("enc", "dec"):
            conv(f"stage3_orsnet.conv_{side}{level}", f + o, f)
    for side in ("enc", "dec"):
        conv(f"stage3_orsnet.up_{side}1.up.1", f, f + s)
        conv(f"stage3_orsnet.up_{side}2.0.up.1", f + s, f + 2 * s)
        conv(f"stage3_orsnet.up_{side}2.1.up.1", f, f + s)
    for name in ("sam12", "sam23"):
        conv(f"{name}.conv1", f, f)
        conv(f"{name}.conv2", 3, f)
        conv(f"{name}.conv3", f, 3)
    conv("concat12", f, 2 * f, 3)
    conv("concat23", f + o, 2 * f, 3)
    conv("tail", 3, f + o, 3)
    return shapes


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ((96, 48, 32, 8, 4), 20_127_073),
        ((80, 48, 32, 8, 4), 15_741_025),
        ((40, 20, 16, 8, 4), 3_637_249),
    ],
)
def test_the_expected_shapes_are_the_published_ones(sizes, parameters):
    shapes = mprnet_shapes(*sizes).values()
    shared_prelu = 1
    assert sum(math.prod(shape) for shape in shapes if shape != (1,)) + shared_prelu == parameters


@pytest.mark.parametrize(
    ("file", "sizes", "prefix", "first", "last", "total"),
    [
        # Values read with PyTorch 2.13.0; total is the sum of all in float64.
        (
            "mprnet_small",
            (12, 4, 8, 3, 4),
            "",
            [-0.17369674146175385, -0.08541765064001083, -0.0744590014219284],
            [0.024278637021780014, -0.022875884547829628],
            31.28452788068398,
        ),
        (
            "mprnet_local_small",
            (12, 4, 8, 3, 4),
            "",
            [-0.027163131162524223, -0.12449437379837036, 0.01774422824382782],
            [0.026579253375530243, -0.005014724098145962],
            40.62150785544026,
        ),
        (
            "mprnet_small_dataparallel",
            (8, 4, 4, 2, 4),
            "module.",
            [-0.11850042641162872, 0.10435997694730759, -0.1484886109828949],
            [0.020399367436766624, -0.0411868579685688],
            -10.995405564823614,
        ),
    ],
)
def test_files_of_pytorch(file, sizes, prefix, first, last, total):
    weights = read_state_dict(PARITY / f"{file}.pth")
    shapes = {prefix + name: shape for name, shape in mprnet_shapes(*sizes).items()}
    assert {name: array.shape for name, array in weights.items()} == shapes
    assert {array.dtype for array in weights.values()} == {np.dtype("f4")}
    assert weights[f"{prefix}shallow_feat1.0.weight"].ravel()[:3].tolist() == first
    assert weights[f"{prefix}tail.weight"].ravel()[-2:].tolist() == last
    assert sum(a.sum(dtype="f8") for a in weights.values()) == pytest.approx(total, abs=1e-9)


# Hand-made files.


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", [None, "little", "big"])
def test_dtypes(tmp_path, protocol, order):
    values = np.array([[1, 0, 3], [100, 5, 6]])
    kinds = [kind for kind in KINDS if kind != "BFloat16Storage"]
    content = collections.OrderedDict((kind, tensor(values, kind)) for kind in kinds)
    weights = read_state_dict(save(tmp_path / "a.pth", content, protocol, order))
    assert list(weights) == kinds
    for kind, array in weights.items():
        expected = np.dtype("f4" if kind == "HalfStorage" else KINDS[kind])
        assert array.dtype == expected and array.dtype.isnative
        assert array.flags.writeable and array.flags.c_contiguous
        np.testing.assert_array_equal(array, values.astype(expected))


@pytest.mark.parametrize("order", ["little", "big"])
def test_bfloat16_is_the_upper_half_of_float32(tmp_path, order):
    bits = [0x3FC0, 0xC000, 0x7F80, 0x0001]  # 0x0001: the smallest subnormal, 2^-133
    content = {"a": tensor(bits, "BFloat16Storage"), "b": tensor(0x4049, "BFloat16Storage")}
    weights = read_state_dict(save(tmp_path / "a.pth", content, order=order))
    np.testing.assert_array_equal(weights["a"], np.float32([1.5, -2, np.inf, 2.0**-133]))
    assert weights["b"].shape == () and weights["b"] == 3.140625
    assert weights["a"].dtype == weights["b"].dtype == np.float32


def test_views_of_one_storage(tmp_path):
    storage = Storage("FloatStorage", NUMBERS)
    content = {
        "whole": Tensor(storage, (4, 6), (6, 1)),
        "transposed": Tensor(storage, (6, 4), (1, 6)),
        "window": Tensor(storage, (2, 3), (6, 1), offset=8),
        "steps": Tensor(storage, (2, 2), (12, 3)),
        "expanded": Tensor(storage, (2, 3), (0, 1), offset=21),
        "last": Tensor(storage, (), (), offset=23),
        "empty": Tensor(storage, (0, 5), (5, 1), offset=24),
    }
    weights = read_state_dict(save(tmp_path / "a.pth", content))
    grid = NUMBERS.reshape(4, 6)
    np.testing.assert_array_equal(weights["whole"], grid)
    np.testing.assert_array_equal(weights["transposed"], grid.T)
    np.testing.assert_array_equal(weights["window"], grid[1:3, 2:5])
    np.testing.assert_array_equal(weights["steps"], grid[::2, ::3][:2])
    np.testing.assert_array_equal(weights["expanded"], [[21, 22, 23]] * 2)
    assert weights["last"].shape == () and weights["last"] == 23
    assert weights["empty"].shape == (0, 5)
    weights["whole"][:] = -1
    np.testing.assert_array_equal(weights["transposed"], grid.T)


def checkpoint():
    weights = collections.OrderedDict({"module.a.weight": tensor(NUMBERS.reshape(2, 12))})
    weights["module.steps"] = tensor(7, "LongStorage")
    weights._metadata = collections.OrderedDict({"": {"version": 1}})
    group = {"lr": 2e-4, "betas": (0.9, 0.999), "amsgrad": False, "params": [0, 1], "note": None}
    moments = {"step": 12, "exp_avg": tensor(np.zeros((2, 12)))}
    optimizer = {"state": {0: moments, 1: {"big": 2**40}}, "param_groups": [group]}
    return {"epoch": 3, "state_dict": weights, "optimizer": optimizer, "params": {"b": tensor(1)}}


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_checkpoint_with_epoch_and_optimizer(tmp_path, protocol):
    path = save(tmp_path / "a.pth", checkpoint(), protocol)
    weights = read_state_dict(path)
    assert list(weights) == ["module.a.weight", "module.steps"]
    np.testing.assert_array_equal(weights["module.a.weight"], NUMBERS.reshape(2, 12))
    assert weights["module.steps"] == 7
    assert list(read_state_dict(path, key="params")) == ["b"]
    refused(path, "no mapping ema; it holds epoch, state_dict, optimizer, params", key="ema")
    refused(path, "has no mapping epoch", key="epoch")
    refused(path, "no named tensors", key="optimizer")


@pytest.mark.parametrize("key", ["params", "params_ema", "model"])
def test_other_names_of_the_weights(tmp_path, key):
    path = save(tmp_path / "a.pth", {key: {"a": tensor(1)}, "iteration": 5})
    assert list(read_state_dict(path)) == ["a"]


def test_two_candidates_are_not_guessed(tmp_path):
    path = save(tmp_path / "a.pth", {"params": {"a": tensor(1)}, "params_ema": {"a": tensor(2)}})
    refused(path, "holds params and params_ema; say which")
    assert read_state_dict(path, key="params_ema")["a"] == 2


@pytest.mark.parametrize("content", [[1, 2], 5, "text", {}, {"epoch": 1}, {0: tensor(1)}])
def test_files_without_named_tensors(tmp_path, content):
    refused(save(tmp_path / "a.pth", content), "holds no mapping|no named tensors")


# Hostile files.


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    value = value.encode()
    return b"X" + len(value).to_bytes(4, "little") + value


ORDERED = b"\x80\x02ccollections\nOrderedDict\n"
PERSISTENT = (
    b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x18tQ"
)
VIEW = PERSISTENT + b"K\x00K\x18\x85K\x01\x85\x89" + ORDERED[2:] + b")Rt"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + VIEW + b"R"
# t = (t, t), 80 times: its hash takes 2^80 steps.
TUPLES = b"K\x01" + b"".join(bytes([*b"q", i, *b"h", i, *b"\x86"]) for i in range(80))

PROGRAMS = {
    "os.system": (b"\x80\x02cos\nsystem\nCOMMAND\x85R.", "asks for os.system,"),
    "eval": (b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.", "asks for builtins.eval,"),
    "not called": (b"\x80\x02}" + text("a") + b"cos\nsystem\ns.", "asks for os.system,"),
    "getattr": (
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n" + text("os") + b"\x85R"
        + text("system") + b"\x86RCOMMAND\x85R.",
        "asks for builtins.getattr,",
    ),
    "within": (b"\x80\x02ctorch.serialization\nos.system\n.", "torch.serialization.os.system,"),
    "stack name": (
        b"\x80\x04" + text("torch._utils") + text("os.system") + b"\x93COMMAND\x85R.",
        "asks for torch._utils.os.system,",
    ),
    "attribute of a known name": (
        b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93.",
        "asks for collections.OrderedDict.fromkeys,",
    ),
    "names with control characters": (
        b"\x80\x04" + text("os\n\x1b[31m") + text("\ud7ff" * 500) + b"\x93.",
        r"asks for os\\n\\x1b",
    ),
    "name of a number": (b"\x80\x04K\x01K\x02\x93.", "STACK_GLOBAL requires str"),
    "module": (b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)\x81}b.", "uses NEWOBJ"),
    "call of a result": (ORDERED + b")R)R.", "object is not callable"),
    "call of a str": (b"\x80\x02" + text("os.system") + b")R.", "object is not callable"),
    "call of a storage": (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls torch.FloatStorage"),
    "call with a list": (ORDERED + b"]R.", "must be a tuple"),
    "dict from pairs": (ORDERED + b"]\x85R.", "calls collections.OrderedDict"),
    "tensor of a str": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + text("/etc/passwd") + b"K\x00)))NtR.",
        "calls torch._utils._rebuild_tensor_v2",
    ),
    "conjugate": (b"\x80\x02" + TENSOR[:-2] + b"}" + text("conj") + b"\x88stR.", "conjugate"),
    "state of a name": (ORDERED + b"}" + text("__setstate__") + b"Nsb.", "no attribute"),
    "slots of a name": (
        ORDERED + b"N}" + text("call") + b"Ns\x86b.", "no attribute|attribute 'call'"
    ),
    "slots of a tensor": (
        b"\x80\x02" + TENSOR + b"N}" + text("offset") + b"K\x63s\x86b.", "can't set attribute"
    ),
    "state of a tensor": (b"\x80\x02" + TENSOR + b"}b.", "no attribute"),
    "state that calls": (
        ORDERED + b")R}" + text("__setstate__") + b"cos\nsystem\nsb.", "asks for os.system,"
    ),
    "INST": (b"(S'true'\nios\nsystem\n.", "uses STRING"),
    "INST without arguments": (b"(ios\nsystem\n.", "uses INST"),
    "OBJ": (b"\x80\x02(ccollections\nOrderedDict\no.", "uses OBJ"),
    "NEWOBJ": (ORDERED + b")\x81.", "uses NEWOBJ"),
    "NEWOBJ_EX": (ORDERED + b")}\x92.", "uses NEWOBJ_EX"),
    "EXT1": (b"\x80\x02\x82\xf0COMMAND\x85R.", "uses EXT1"),
    "append": (ORDERED + b"K\x01a.", "no attribute"),
    "item": (ORDERED + b"K\x01K\x02s.", "does not support item assignment"),
    "endless hash": (b"\x80\x02}" + TUPLES + b"K\x01s.", "keys are no str or number"),
    "persistent id": (b"\x80\x02" + text("/etc/passwd") + b"Q.", "is no storage"),
    "negative count": (
        b"\x80\x02" + PERSISTENT.replace(b"K\x18", b"J\xff\xff\xff\xff") + b".", "is no storage"
    ),
    "huge number": (b"\x80\x02\x8b\x00\x10\x00\x00" + bytes(4096) + b".", "uses LONG4"),
    "huge memo": (b"\x80\x02}r\xff\xff\xff\xff.", "memo out of order"),
    "empty stack": (b"\x80\x02.", "damaged"),
    "below the mark": (b"\x80\x02K\x01(\x85.", "damaged"),
    "no mark": (b"\x80\x02]e.", "damaged"),
    "no memo": (b"\x80\x02h\x05.", "damaged"),
    "no end": (b"\x80\x02}", "damaged"),
    "long string": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.", "damaged"),
    "nothing": (b"", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_pickles_are_refused(tmp_path, name):
    sentinel = tmp_path / "sentinel"
    program, message = PROGRAMS[name]
    program = program.replace(b"COMMAND", text(f"touch '{sentinel}'"))
    copyreg.add_extension("os", "system", 0xF0)
    try:
        refused(write_zip(tmp_path / "a.pth", program, {"data/0": NUMBERS.tobytes()}), message)
    finally:
        copyreg.remove_extension("os", "system", 0xF0)
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_calls_are_refused(tmp_path, protocol):
    sentinel = tmp_path / "sentinel"
    call = Call(os.mkdir, str(sentinel))
    nested = {"state_dict": {"a": tensor(1)}, "optimizer": [Call(getattr, call, "real")]}
    for content in (call, nested) if protocol >= 2 else (call,):
        program, storages = pickled(content, protocol)
        data = {f"data/{key}": storage.numbers.tobytes() for key, storage in storages.items()}
        refused(write_zip(tmp_path / "a.pth", program, data), "refused: it")
        assert not sentinel.exists()
    pickle.loads(pickled(call, protocol)[0])
    assert sentinel.exists()  # Python's own machine does run it


def test_a_hand_made_tensor_is_read(tmp_path):
    program = b"\x80\x02}" + text("a") + TENSOR + b"s."
    path = write_zip(tmp_path / "a.pth", program, {"data/0": NUMBERS.tobytes()})
    np.testing.assert_array_equal(read_state_dict(path)["a"], NUMBERS)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((25,), (1,), 0),
        ((24,), (1,), 1),
        ((4, 6), (7, 1), 0),
        ((2,), (24,), 0),
        ((), (), 24),
        ((1,), (1,), -1),
        ((2,), (-1,), 1),
        ((-1,), (1,), 0),
        ((4, 6), (6,), 0),
        ((2**61, 2), (2, 1), 0),
        ((2**70,), (0,), 0),
        ((1.0,), (1,), 0),
        ((0,), (1,), 25),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_views_stay_inside_their_storage(tmp_path, size, stride, offset):
    view = Tensor(Storage("FloatStorage", NUMBERS), size, stride, offset)
    path = save(tmp_path / "a.pth", {"a": view})
    refused(path, "tensor a reaches outside|calls torch._utils._rebuild_tensor_v2")


# Bombs.


def test_strides_of_zero_do_not_multiply_a_storage(tmp_path):
    view = Tensor(Storage("FloatStorage", [0.0]), (2**30, 2**30), (0, 0))
    refused(save(tmp_path / "a.pth", {"a": view}), "at most 4.00 GiB are read")


def test_many_views_do_not_multiply_a_storage(tmp_path):
    storage = Storage("FloatStorage", NUMBERS)
    path = save(tmp_path / "a.pth", {str(i): Tensor(storage, (24,), (1,)) for i in range(20)})
    assert len(read_state_dict(path, max_bytes=2**20)) == 20
    refused(
        save(tmp_path / "b.pth", {"a": Tensor(storage, (2**20,), (0,))}), "at most", max_bytes=2**20
    )


def test_compressed_entries_are_refused(tmp_path):
    zeros = tensor(np.zeros(2**20, np.float32))
    path = save(tmp_path / "a.pth", {"a": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**13
    refused(path, "data.pkl is compressed")
    refused(path, "at most 0.00 GiB", max_bytes=2**20)


def test_limits(tmp_path):
    path = save(tmp_path / "a.pth", {str(i): tensor(NUMBERS) for i in range(10)})
    assert len(read_state_dict(path, max_entries=11)) == 10
    refused(path, "11 entries; at most 10", max_entries=10)
    refused(path, "GiB of numbers", max_bytes=960)
    refused(path, r"data.pkl has \d+ bytes; at most 100", max_pickle_bytes=100)


# Broken files, and files of another kind.


def test_truncated_files(tmp_path):
    path = save(tmp_path / "a.pth", checkpoint())
    whole = path.read_bytes()
    for length in (
        4,
        30,
        100,
        512,
        len(whole) // 2,
        len(whole) - 100,
        len(whole) - 22,
        len(whole) - 1,
    ):
        path.write_bytes(whole[:length])
        refused(path, "damaged or cut short")
    for length in (0, 3):
        path.write_bytes(whole[:length])
        refused(path, "not a PyTorch file")


def test_wrong_checksum(tmp_path):
    path = save(tmp_path / "a.pth", {"a": tensor(NUMBERS)})
    content = bytearray(path.read_bytes())
    content[content.index(NUMBERS.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    refused(path, "damaged or cut short .Bad CRC-32")


def test_random_damage_is_a_user_error(tmp_path):
    path = save(tmp_path / "a.pth", checkpoint())
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    program = pickled(checkpoint())[0]
    for _ in range(150):
        for content, write in (
            (whole, path.write_bytes),
            (program, lambda damaged: write_zip(path, damaged, {"data/0": NUMBERS.tobytes()})),
        ):
            damaged = bytearray(content)
            damaged[generator.integers(len(damaged))] = generator.integers(256)
            write(bytes(damaged))
            try:
                read_state_dict(path)
            except UserError as error:
                assert str(error).isprintable()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "entry data/0 is missing"),
        ({"data/1": NUMBERS.tobytes()}, "entry data/0 is missing"),
        ({"data/0": NUMBERS[:-1].tobytes()}, "storage 0 has 92 bytes, expected 24 x 4"),
        ({"data/0": NUMBERS.tobytes(), "byteorder": "middle"}, "expected little or big"),
        ({"data/0": NUMBERS.tobytes(), "constants.pkl": b""}, "TorchScript"),
    ],
)
def test_wrong_entries(tmp_path, entries, message):
    program, _ = pickled({"a": tensor(NUMBERS)})
    refused(write_zip(tmp_path / "a.pth", program, entries), message)


def test_keys_are_no_paths(tmp_path):
    (tmp_path / "secret").write_bytes(NUMBERS.tobytes())
    for key in (f"{tmp_path}/secret", "../../secret"):
        program = b"\x80\x02}" + text("a") + TENSOR.replace(text("0"), text(key)) + b"s."
        refused(write_zip(tmp_path / "a.pth", program), "is missing")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(tmp_path):
    path = save(tmp_path / "a.pth", {"a": tensor(NUMBERS)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", NUMBERS[::-1].tobytes())
    refused(path, "two entries of one name")


def test_other_zip_archives(tmp_path):
    np.savez(tmp_path / "a.npz", a=NUMBERS)
    refused(tmp_path / "a.npz", "not a PyTorch file .a zip archive without")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.example/spec/v1\noid sha256:0", "Git LFS"),
        (bytes(range(256)) * 4, "neither"),
        (pickle.dumps({"a": 1}), "neither"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", f"not a PyTorch file .*{message}")


def test_tar_archives_and_missing_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(__file__, "a.py")
    refused(tmp_path / "a.tar", "not a PyTorch file .it is a tar archive")
    refused(tmp_path / "absent.pth", "cannot be opened")
    refused(tmp_path, "cannot be opened")


# Files from before PyTorch 1.6.


@pytest.fixture(params=[2, 4])
def old_file(tmp_path, request):
    path = tmp_path / "old.pth"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, request.param) + b"the rest")
    return path


def test_old_files_without_torch(old_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(old_file, r"an old PyTorch file.*pip install 'restore_tf\[convert\]'")


class OldTensor:
    """What the reader needs of torch.Tensor."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.dtype = str(numbers.dtype)

    def detach(self):
        return self

    def float(self):
        return OldTensor(self.numbers.astype(np.float32))

    def numpy(self):
        return self.numbers


def old_torch(load, version="2.6.0+cpu"):
    torch = types.ModuleType("torch")
    torch.__version__, torch.load, torch.Tensor = version, load, OldTensor
    torch.float16, torch.bfloat16 = "float16", "bfloat16"
    return torch


def test_old_files_through_torch(old_file, monkeypatch):
    def load(path, **kwargs):
        assert path == old_file and kwargs == {"map_location": "cpu", "weights_only": True}
        tensors = {"a": OldTensor(NUMBERS), "b": OldTensor(np.float16([1.5]))}
        return {"state_dict": tensors, "epoch": 3}

    monkeypatch.setitem(sys.modules, "torch", old_torch(load))
    weights = read_state_dict(old_file)
    assert list(weights) == ["a", "b"]
    np.testing.assert_array_equal(weights["a"], NUMBERS)
    assert weights["b"].dtype == np.float32 and weights["b"] == [1.5]


def test_old_files_that_torch_refuses(old_file, monkeypatch):
    def load(*_, **__):
        raise pickle.UnpicklingError("Weights only load failed.\nUnsupported global")

    monkeypatch.setitem(sys.modules, "torch", old_torch(load))
    refused(old_file, "PyTorch cannot read it safely .Weights only load failed")


@pytest.mark.parametrize("version", ["2.5.1", "1.13.0+cu117"])
def test_a_torch_whose_safe_loading_is_unsafe_is_not_used(old_file, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "torch", old_torch(pytest.fail, version))
    refused(old_file, f"PyTorch 2.6 or newer, here is {version}".replace("+", r"\+"))
