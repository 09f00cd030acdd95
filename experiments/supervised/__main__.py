"""Program `python -m experiments.supervised`."""

from collections.abc import Sequence

from experiments.running import program
from experiments.supervised.study import PROGRAM


def main(args: Sequence[str] | None = None, module: str = PROGRAM.module) -> None:
    """Runs the program. The record's command is `python -m module` with the flags."""
    program.main(PROGRAM._replace(module=module), args)


if __name__ == "__main__":
    main()
