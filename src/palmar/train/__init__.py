"""Training: feeding, the loop, and what is logged."""
