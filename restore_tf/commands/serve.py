"""`restore-tf serve`: a stand-in for TensorFlow Serving, for development."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from absl import flags

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system import quiet
from restore_tf.system.signals import stop_signals

USAGE = """Serves an exported SavedModel as TensorFlow Serving would, by gRPC and REST.
FOR DEVELOPMENT: use TensorFlow Serving in production, see docs/serving.md.
  restore-tf serve --model_dir DIR/saved_model
  restore-tf serve --model_dir DIR/saved_model --model_name restore_tf --port 0 --rest_api_port 0"""

_WAIT = 0.1  # seconds between checks for a stop signal


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_serve, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()

    def text(name, default, meaning):
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name, default, lowest, highest, meaning):
        flags.DEFINE_integer(name, default, meaning, lowest, highest, flag_values=values)

    text("model_dir", None, "the saved_model folder of export.py, with sub-folders 1, 2, …")
    text("model_name", "restore_tf", "the model's name in requests")
    text("host", "127.0.0.1", "the address to listen on; 0.0.0.0 for all, without any protection")
    number("port", 8500, 0, 65535, "the port for gRPC; 0 takes a free one")
    number("rest_api_port", 8501, 0, 65535, "the port for REST; 0 takes a free one")
    number("concurrent", 1, 1, 64, "computations at the same time")
    number("queued", 16, 0, 10_000, "requests that may wait; further ones are refused")
    number("max_request_mb", 256, 1, 2047, "the largest request, in MiB")
    number("rest_api_timeout_in_ms", 120_000, 1, None, "deadline of REST requests, milliseconds")
    return values


def _serve(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: expected no arguments besides flags.")
    if not values.model_dir:
        raise UserError("--model_dir: missing; expected the saved_model folder of export.py.")
    quiet.import_tensorflow()
    from restore_tf.serving.stand_in.server import StandIn

    server = StandIn(
        values.model_dir,
        values.model_name,
        host=values.host,
        grpc_port=values.port,
        rest_port=values.rest_api_port,
        concurrent=values.concurrent,
        queued=values.queued,
        max_bytes=values.max_request_mb * 2**20,
        rest_seconds=values.rest_api_timeout_in_ms / 1000,
    )
    versions = ", ".join(str(number) for number in server.model.versions)
    print("a stand-in for development; use TensorFlow Serving in production")
    print(f"model {values.model_name}, versions {versions}")
    print(f"gRPC: grpc://{values.host}:{server.grpc_port}")
    print(f"REST: http://{values.host}:{server.rest_port}/v1/models/{values.model_name}")
    with stop_signals() as stop:
        print("ready; Ctrl-C stops", flush=True)
        while not stop.requested:
            time.sleep(_WAIT)
    print("stopping after the running requests", flush=True)
    server.stop()
    return 0
