"""Command-line programs: each reads data, calls mer_jax, and writes results."""

import os
import signal
import sys

if sys.argv[:1] == ["-m"]:  # so Python calls a program until it has found its file
    # Packages are loaded for seconds. Ctrl-C then ends the program without a traceback.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))

    from experiments.running import progress

    progress.show_loading()
