"""The command line of the project, and what it prints for a person."""
