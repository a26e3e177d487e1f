"""What other programs read and write, and what they expect to find."""

__all__: list[str] = []
