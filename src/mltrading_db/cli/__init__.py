"""The command `mldb`: typer and rich in front, ansible-runner behind.

It runs the project's playbooks, says what they did, and keeps a record. What is done on a host stands in a playbook or
a role, never here, so that ansible-playbook stays enough for everything.
"""
