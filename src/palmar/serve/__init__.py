"""Policies and robots for other computers: a policy server and its client."""
