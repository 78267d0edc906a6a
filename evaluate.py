#!/usr/bin/env python3
"""Scores a run on a data set. See `python evaluate.py --help`."""

import sys

from restore_tf.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
