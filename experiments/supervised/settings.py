"""Hyper-parameters: the authors' published values, and values chosen by recorded sweeps."""

Rows = dict[int | None, dict[str, float]]
"""Settings by the number of memories, None for a method without replay."""
Tables = dict[tuple[str, str], Rows]
"""`{(method, benchmark): rows}`."""


def _read(text: str) -> tuple[Tables, Tables]:
    """Published and chosen settings from lines "method: names" and, below each, lines "benchmarks
    capacities: values | capacities: values". Chosen ones begin with a star."""
    published: Tables = {}
    chosen: Tables = {}
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            method, names = line.split(": ")
            continue
        benchmarks, cells = line.strip(" *").split(" ", 1)
        rows: Rows = {}
        for capacities, words in (cell.split(": ") for cell in cells.split(" | ")):
            values = [float(word) if "." in word else int(word) for word in words.split()]
            row = dict(zip(names.split(), values, strict=True))
            for capacity in capacities.split(","):
                rows[None if capacity == "-" else int(capacity)] = row
        for benchmark in benchmarks.split(","):
            (chosen if "*" in line else published)[method, benchmark] = rows
    return published, chosen


# batch_size counts the incoming example, so it is one more than the replays that the authors give.
# A star marks the best of the sweeps in experiments/results/sweeps.md, with the number of memories
# that comes nearest. The sweeps' seeds are none of those that are reported.
PUBLISHED, CHOSEN = _read("""
mer: alpha beta gamma batch_size num_batches
  rotations 5120: 0.03 0.03 1 101 10 | 500: 0.1 0.01 1 11 10 | 200: 0.1 0.01 1 11 5
  permutations 5120: 0.03 0.03 1 101 10 | 500: 0.03 0.03 1 26 10 | 200: 0.03 0.03 1 11 10
  many-permutations 5120: 0.1 0.01 1 6 10 | 500: 0.03 0.03 1 6 10
  * omniglot 5120: 0.01 0.5 1 26 1 | 500: 0.1 0.03 1 11 10
mer-big-batch: alpha gamma batch_size
  rotations 5120: 0.03 0.1 101 | 500: 0.1 0.03 11 | 200: 0.1 0.03 26
  permutations 5120: 0.03 0.1 51 | 500: 0.03 0.3 11 | 200: 0.1 0.03 6
  many-permutations 5120: 0.03 0.1 26 | 500: 0.1 0.03 6
  * omniglot 5120: 0.03 0.5 26
mer-current-rate: alpha gamma batch_size s
  rotations 5120: 0.03 0.03 101 5 | 500,200: 0.03 0.03 51 5
  permutations 5120: 0.01 0.1 101 10 | 500: 0.01 0.1 26 10 | 200: 0.03 0.1 6 2
  many-permutations 5120: 0.03 0.03 101 10 | 500: 0.03 0.03 6 10
mer-current-rate: alpha gamma s batch_size
  * omniglot 5120: 0.01 0.3 5 26
er: alpha batch_size
  rotations 5120: 0.1 26 | 500: 0.1 6 | 200: 0.1 11
  permutations 5120: 0.1 26 | 500,200: 0.1 11
  many-permutations 5120,500: 0.1 26
  * omniglot 5120: 0.1 26
er-by-task: alpha batch_size
  rotations 5120: 0.03 101 | 500: 0.01 101 | 200: 0.01 51
  permutations 5120,500: 0.01 26 | 200: 0.01 11
  many-permutations 5120: 0.003 11 | 500: 0.01 6
  * omniglot 5120: 0.01 26
gem: alpha margin ridge
  rotations 5120: 0.01 1 0 | 500,200: 0.01 0 0
  permutations 5120,500: 0.01 1 0 | 200: 0.01 0 0
  many-permutations 5120: 0.01 0 0 | 500: 0.003 0.1 0
  * omniglot 5120: 0.03 0.5 0
ewc: alpha num_memories strength
  rotations -: 0.001 10 100
  permutations -: 0.01 10 10
  many-permutations -: 0.003 10 1
  * omniglot -: 0.03 10 10
independent: alpha
  rotations,permutations,many-permutations -: 0.01
  * omniglot -: 0.03
online: alpha
  rotations -: 0.0003
  permutations,many-permutations -: 0.003
  * omniglot -: 0.03
agem: alpha sample_size
  * rotations 5120,500,200: 0.001 256
  * permutations 5120,500,200: 0.01 256
  * many-permutations 5120,500: 0.01 256
  * omniglot 5120: 0.1 50
exact-alignment: alpha alignment batch_size
  * rotations 5120,500,200: 0.03 0.01 26
  * permutations 5120,500,200: 0.01 0.001 26
  * many-permutations 5120,500: 0.01 0.01 26
  * omniglot 5120: 0.03 0.01 11
task-input: alpha
  * rotations,permutations,many-permutations -: 0.01
  * omniglot -: 0.03
""")
