"""Memory of GPUs, as their libraries tell it, by stand-ins for these; and errors by their types."""

import sys
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from restore_tf.inference import devices
from restore_tf.inference.memory import memory_limit

GB = 10**9


@pytest.fixture
def backend(monkeypatch):
    def choose(name, module=None):
        monkeypatch.setattr(keras.backend, "backend", lambda: name)
        if module:
            monkeypatch.setitem(sys.modules, name, module)

    return choose


def test_a_cpu_plans_by_the_machines_memory():
    assert devices.free_on_gpu() is None
    assert memory_limit() > 0


def test_tensorflows_gpu(backend, monkeypatch):
    from tensorflow.python.client import device_lib

    gpu = SimpleNamespace(name="/device:GPU:0", memory_limit=10 * GB)
    others = [SimpleNamespace(name=f"/device:{n}", memory_limit=GB) for n in ("CPU:0", "GPU:1")]
    backend("tensorflow")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [gpu])
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: [*others, gpu])
    monkeypatch.setattr(
        tf.config.experimental, "get_memory_info", lambda device: {"current": 4 * GB}
    )
    assert devices.free_on_gpu() == 6 * GB
    assert memory_limit() == 4.8 * GB  # four fifths
    assert memory_limit(2 * GB) == 2 * GB
    assert memory_limit(20 * GB) == 6 * GB


def test_pytorchs_gpu(backend):
    cuda = SimpleNamespace(
        is_available=lambda: True,
        mem_get_info=lambda: (3 * GB, 16 * GB),
        memory_reserved=lambda: 5 * GB,
        memory_allocated=lambda: 2 * GB,
    )
    backend("torch", SimpleNamespace(cuda=cuda))
    assert devices.free_on_gpu() == 6 * GB
    cuda.is_available = lambda: False
    assert devices.free_on_gpu() is None


def test_jaxs_gpu(backend):
    numbers = {"bytes_limit": 12 * GB, "bytes_in_use": 5 * GB}
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: numbers)
    backend("jax", SimpleNamespace(local_devices=lambda: [device]))
    assert devices.free_on_gpu() == 7 * GB
    device.platform, numbers["bytes_limit"] = "cpu", 0
    assert devices.free_on_gpu() is None


def test_errors_are_known_by_their_types(monkeypatch):
    class Runtime(Exception):
        pass

    class Cuda(Exception):
        pass

    class ResourceExhaustedError(Exception):  # somebody's own, of TensorFlow's name
        pass

    monkeypatch.setitem(
        sys.modules, "jax", SimpleNamespace(errors=SimpleNamespace(JaxRuntimeError=Runtime))
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(OutOfMemoryError=Cuda))
    exhausted = [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
        Cuda("CUDA out of memory"),
        Runtime("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3 bytes."),
    ]
    assert all(map(devices.out_of_memory, exhausted))
    others = [
        ResourceExhaustedError("RESOURCE_EXHAUSTED"),
        Runtime("INVALID_ARGUMENT: RESOURCE_EXHAUSTED is not this"),
        tf.errors.InternalError(None, None, "RESOURCE_EXHAUSTED"),
        ValueError("out of memory"),
    ]
    assert not any(map(devices.out_of_memory, others))


def test_the_type_of_jaxs_errors_is_where_it_is_looked_for():
    jax = pytest.importorskip("jax")
    assert issubclass(jax.errors.JaxRuntimeError, RuntimeError)
