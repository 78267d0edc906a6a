"""Starts the web application where a host runs `python app.py`, such as a Space."""

import os
import sys

from restore_tf.commands import app

FLAGS = [
    "--host=0.0.0.0",
    f"--port={os.environ.get('PORT', '7860')}",
    "--max_pixels=12000000",
    "--max_clip_frames=150",
    "--keep_minutes=15",
]

if __name__ == "__main__":
    sys.exit(app.main(["restore-tf app", *FLAGS, *sys.argv[1:]]))
