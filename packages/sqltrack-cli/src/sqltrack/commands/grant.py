"""Return the SQL that lets other PostgreSQL users read or write a database of experiments."""

from __future__ import annotations

from sqltrack.commands._access import check_grantee, check_name
from sqltrack.engines.postgres.sql import quote_if_needed

__all__ = ["grant_sql"]

_READ = ("SELECT", "SELECT")
# Sequences, because they generate the ids.
_WRITE = ("SELECT, INSERT, UPDATE, DELETE", "SELECT, USAGE")


def grant_sql(
    user: str,
    *,
    dbname: str,
    owner: str,
    schema: str = "public",
    write: bool = False,
    as_owner: bool = False,
) -> list[str]:
    """Return the statements that give a user access to the experiments in a schema.

    The owner of the database executes them while connected to it. They include tables that the owner creates later.
    Only the owner of a table can add columns: new metrics of other users are stored in `metrics.extras`, or in
    `metrics_pending` until the owner has added that column, unless they are members of the owner's role.

    Args:
        user: user who gets access.
        dbname: name of the database.
        owner: owner of the tables, the user who set up the database.
        schema: schema that holds the tables.
        write: whether the user may also write, create experiments and runs, and delete them.
        as_owner: whether the user becomes a member of the owner's role, with all its rights.

    Raises:
        UnusableValueError: (a ValueError) a name is unusable.
    """
    check_grantee(user, owner)
    on_tables, on_sequences = _WRITE if write or as_owner else _READ
    database, place = quote_if_needed(check_name("database", dbname)), quote_if_needed(check_name("schema", schema))
    grantee, role = quote_if_needed(user), quote_if_needed(owner)
    later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {place} GRANT"
    statements = [
        f"GRANT CONNECT ON DATABASE {database} TO {grantee};",
        f"GRANT USAGE ON SCHEMA {place} TO {grantee};",
        f"GRANT {on_tables} ON ALL TABLES IN SCHEMA {place} TO {grantee};",
        f"GRANT {on_sequences} ON ALL SEQUENCES IN SCHEMA {place} TO {grantee};",
        f"{later} {on_tables} ON TABLES TO {grantee};",
        f"{later} {on_sequences} ON SEQUENCES TO {grantee};",
    ]
    if as_owner:
        statements.append(f"GRANT {role} TO {grantee};")
    return statements
