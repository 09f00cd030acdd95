"""Published results of Riemer et al. (ICLR 2019): mean and spread over five runs."""


def _row(*values: tuple[float, float]) -> dict[str, tuple[float, float]]:
    names = ("rotations", "permutations", "many-permutations", "omniglot")
    return dict(zip(names, values, strict=False))


# Retained accuracy in percent: {(method, memories): {benchmark: value}}.
RETAINED_ACCURACY = {
    ("online", None): _row((46.40, 0.78), (55.42, 0.65), (32.62, 0.43), (4.36, 0.37)),
    ("ewc", None): _row((57.96, 1.33), (62.32, 1.34), (33.46, 0.46), (4.63, 0.14)),
    ("gem", 5120): _row((87.12, 0.44), (82.50, 0.42), (56.76, 0.29), (18.03, 0.15)),
    ("gem", 500): _row((72.08, 1.29), (69.26, 0.66), (32.14, 0.50)),
    ("gem", 200): _row((66.88, 0.72), (55.42, 1.10)),
    ("mer", 5120): _row((89.56, 0.11), (85.50, 0.16), (61.84, 0.25), (75.23, 0.52)),
    ("mer", 500): _row((81.82, 0.52), (77.40, 0.38), (47.40, 0.35), (32.05, 0.69)),
    ("mer", 200): _row((77.24, 0.47), (72.74, 0.46)),
}

# The mean dot product of the incoming example's gradient with a random past example's.
ALIGNMENT = {
    "er": _row((-0.569, 0.077), (-1.652, 0.082), (-1.280, 0.078)),
    "mer": _row((0.042, 0.017), (0.017, 0.007), (0.131, 0.027)),
}
