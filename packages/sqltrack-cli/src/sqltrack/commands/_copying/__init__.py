"""Read, keep and write what `copy` carries from one database to another."""

__all__: list[str] = []
