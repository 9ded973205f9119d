"""The commands of the program, a module for each: its options, and what it prints."""

__all__: list[str] = []
