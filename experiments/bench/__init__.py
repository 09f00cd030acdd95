"""Times of MER, and ratios that hold on other machines too."""
