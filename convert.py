#!/usr/bin/env python3
"""Turns an authors' checkpoint into a run directory. See `python convert.py --help`."""

import sys

from restore_tf.commands.convert import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
