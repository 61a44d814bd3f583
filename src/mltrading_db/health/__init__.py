"""How an environment does: what its hosts answered, as a table and as a page."""
