#!/usr/bin/env python3
"""Trains a model into a run directory. See `python train.py --help`."""

import sys

from restore_tf.commands.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
