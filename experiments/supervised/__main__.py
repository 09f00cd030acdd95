"""Program `python -m experiments.supervised`."""

from experiments.running.program import main
from experiments.supervised.study import PROGRAM

if __name__ == "__main__":
    main(PROGRAM)
