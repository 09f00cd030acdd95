"""Program `python -m experiments.language`."""

from experiments.language.study import PROGRAM
from experiments.running.program import main

if __name__ == "__main__":
    main(PROGRAM)
