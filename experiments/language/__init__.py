"""A language model on one kind of text after another, with and without MER's two parts."""
