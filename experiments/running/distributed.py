"""Several processes that learn the same runs: their start, agreement, and end."""

import hashlib
import json
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.running.options import Distributed

_JOINED = "all processes have joined"


def is_first() -> bool:
    """Whether this process prints and writes."""
    return jax.process_index() == 0


def fork(module: str, config: Distributed) -> None:
    """Goes on in a child process. The parent ends with its status when it ends.

    JAX aborts a process that waits in vain or loses another one. The parent then says so in one
    line and ends with status 2. Both end together, also when one of them is killed.
    """
    alive, until_the_end = os.pipe()
    reading, writing = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings(action="ignore"):  # JAX has no backend and no threads yet
        child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # Ctrl-C goes to the parent alone, which hands it on
        os.dup2(writing, sys.stderr.fileno())
        for end in (until_the_end, reading, writing):
            os.close(end)
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
        return
    os.close(writing)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(child, number))
    with os.fdopen(reading, encoding="utf-8", errors="replace") as stderr:
        said = stderr.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 0 and "Gloo" not in said:  # lines of JAX's log begin with a letter and the date
        said = re.sub(r"^([EFIW]\d{4} .*|Additional GRPC.*|:UNKNOWN:.*|1)\n", "", said, flags=re.M)
        sys.stderr.write(said.replace(f"{_JOINED}\n", ""))
    else:
        print(f"{module}: error: {_lost(said, status, config)}", file=sys.stderr)
    raise SystemExit(max(status, 0) or (2 if status else 0))


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # returns when the parent's end is closed
    os._exit(2)


def _lost(said: str, status: int, config: Distributed) -> str:
    """The reason of an abort, from what the process wrote to stderr."""
    coordinator = config.coordinator or "the cluster's coordinator"
    if _JOINED not in said:
        all_of_them = f"all {config.num_processes or 'the'} processes"
        waited = f"not {all_of_them} joined at {coordinator} in {config.wait_seconds} s"
        return f"{waited}; start all with the same flags, or give a longer --wait-seconds"
    if found := re.search(r"stopped sending heartbeats\):\s*([\d\s]+)", said):
        who = f"process {', '.join(found[1].split())}"
    elif status == -signal.SIGABRT:
        who = f"process 0 ({coordinator})"
    else:
        who = f"process {config.process_id or ''}".strip()
    return f"{who} has ended; resume with --resume, with any number of processes"


def _others(config: Distributed) -> str:
    if config.process_id is None or config.num_processes is None:
        return "the other processes"
    numbers = [str(n) for n in range(config.num_processes) if n != config.process_id]
    return f"process {', '.join(numbers) if config.process_id == 0 else 0}"


def join(config: Distributed, say: Callable[[str], object]) -> None:
    """Connects the processes. Without --coordinator JAX asks the cluster.

    Raises:
      ValueError: if that fails.
    """
    waiting = f"waiting at most {config.wait_seconds} s for {_others(config)}"
    say(f"{waiting} at {config.coordinator}" if config.coordinator else waiting)
    try:
        jax.distributed.initialize(
            config.coordinator, config.num_processes, config.process_id,
            initialization_timeout=config.wait_seconds, heartbeat_timeout_seconds=10,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise ValueError(
            f"--distributed found no processes to join ({reason}); where JAX does not know the "
            "cluster, give --coordinator HOST:PORT, --num-processes and --process-id"
        ) from error
    print(_JOINED, file=sys.stderr, flush=True)


def agree(values: dict[str, Any], on: str) -> None:
    """Compares values of all processes.

    Args:
      on: the kind of the values, for the message.
    Raises:
      ValueError: in every process, with the names of those that differ.
    """
    names = sorted(values)
    # All names together first, since arrays of another length cannot be exchanged.
    for group in ([names], [[name, values[name]] for name in names]):
        digests = [hashlib.sha256(json.dumps(one).encode()).digest() for one in group]
        mine = np.frombuffer(b"".join(digests), np.uint8).reshape(len(group), -1)
        differs = (multihost_utils.process_allgather(mine) != mine).any((0, 2))
        if differs.any():
            known = [name for name, other in zip(names, differs, strict=len(group) > 1) if other]
            which = ", ".join(known) if len(group) > 1 else "programs or versions"
            raise ValueError(f"the processes have different {on}: {which}")


def any_of(*conditions: bool) -> list[bool]:
    """Whether each condition holds in any process."""
    return list(multihost_utils.process_allgather(np.array(conditions)).any(0))
