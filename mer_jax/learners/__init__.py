"""One module an algorithm; each function returns a `Learner`."""
