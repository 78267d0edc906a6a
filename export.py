#!/usr/bin/env python3
"""Turns a run into files that servers and devices run. See `python export.py --help`."""

import sys

from restore_tf.commands.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
