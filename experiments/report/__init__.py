"""Reports: one page of the results of runs."""
