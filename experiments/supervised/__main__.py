"""Program `python -m experiments.supervised`."""

from collections.abc import Sequence

from experiments.running import program
from experiments.supervised.methods import METHODS
from experiments.supervised.own import OWN
from experiments.supervised.study import PROGRAM


def main(args: Sequence[str] | None = None) -> None:
    """Runs the program, called from a file that adds methods under the name of that file."""
    module = next((METHODS[name].module for name in OWN), PROGRAM.module)
    program.main(PROGRAM._replace(module=module), args)


if __name__ == "__main__":
    main()
