"""Command-line programs: each reads data, calls mer_jax, and writes results."""

import sys

if sys.argv[:1] == ["-m"]:  # so Python calls a program until it has found its file
    from experiments.running import progress

    progress.show_loading()
