"""The benchmark: what was measured, as tables, as a page, and beside another run."""
