#!/usr/bin/env python3
"""Restores pictures with a trained run. See `python restore.py --help`."""

import sys

from restore_tf.commands.restore import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
