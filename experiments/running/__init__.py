"""The loop, the record and the program shell that all experiments share."""
