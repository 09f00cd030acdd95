"""For all tests, and the programs that they start."""

import os
from pathlib import Path

# Several of them may share one accelerator.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# What one has compiled the others need not, nor does the next run of the tests.
compiled = Path(__file__).parent.parent / ".compiled_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
