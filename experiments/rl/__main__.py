"""Program `python -m experiments.rl`."""

from experiments.rl.study import PROGRAM
from experiments.running.program import main

if __name__ == "__main__":
    main(PROGRAM)
