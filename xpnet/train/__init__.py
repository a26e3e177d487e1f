"""Training: the loop with its hooks, what it remembers, and what can be hung on it."""
