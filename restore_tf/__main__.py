"""`python -m restore_tf VERB …`, the same as `restore-tf VERB …`."""

import sys

from restore_tf.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["restore-tf", *sys.argv[1:]]))
