#!/usr/bin/env python3
"""Pairs a second of one core that the synthetic data set makes, for each of its configurations.

Every training pair is made once and then kept in memory, so this says how long the first epoch
takes. Times are the processor's for this one thread: other processes that run meanwhile do not
count. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import time

from restore_tf.datasets.synthetic import CONFIGS, Synthetic


def main() -> None:
    """Prints a row for each configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="*", default=CONFIGS, choices=CONFIGS, metavar="CONFIG")
    parser.add_argument("--pairs", type=int, default=100, help="how many are made")
    parser.add_argument("--photos", help="a folder of sharp photos in place of the embedded ones")
    arguments = parser.parse_args()
    print(f"{'config':18}{'sharp pixels':>14}{'ms a pair':>11}{'pairs/s':>9}")
    for config in arguments.configs:
        data = Synthetic(config, count=arguments.pairs, folder=arguments.photos)
        data[1]  # imports and tables
        start = time.thread_time()
        for index in range(len(data)):
            data[index]
        seconds = (time.thread_time() - start) / len(data)
        size = "x".join(map(str, data.size))
        print(f"{config:18}{size:>14}{1000 * seconds:11.1f}{1 / seconds:9.1f}", flush=True)


if __name__ == "__main__":
    main()
