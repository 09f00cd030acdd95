"""The paper's tables: results beside published values."""
