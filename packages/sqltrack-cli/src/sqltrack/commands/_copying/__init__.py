"""Read, buffer and write the rows that `copy` moves between databases."""

__all__: list[str] = []
