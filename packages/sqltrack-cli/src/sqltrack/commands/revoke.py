"""Return the SQL that revokes the access of `sqltrack.commands.grant`."""

from __future__ import annotations

from sqltrack.commands._access import check_grantee, check_name
from sqltrack.engines.postgres.sql import quote_if_needed

__all__ = ["revoke_public_sql", "revoke_sql"]


def revoke_sql(user: str, *, dbname: str, owner: str, schema: str = "public", as_owner: bool = False) -> list[str]:
    """Return the statements that revoke a user's access to the experiments in a schema.

    Args:
        user: user who loses access.
        dbname: name of the database.
        owner: owner of the tables.
        schema: schema that holds the tables.
        as_owner: whether to also revoke membership in the owner's role.

    Raises:
        UnusableValueError: (a ValueError) a name is unusable.
    """
    check_grantee(user, owner)
    database, place = quote_if_needed(check_name("database", dbname)), quote_if_needed(check_name("schema", schema))
    grantee, role = quote_if_needed(user), quote_if_needed(owner)
    later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {place} REVOKE"
    statements = [
        f"{later} ALL ON SEQUENCES FROM {grantee};",
        f"{later} ALL ON TABLES FROM {grantee};",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {place} FROM {grantee};",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {place} FROM {grantee};",
        f"REVOKE ALL ON SCHEMA {place} FROM {grantee};",
        f"REVOKE ALL ON DATABASE {database} FROM {grantee};",
    ]
    if as_owner:
        statements.append(f"REVOKE {role} FROM {grantee};")
    return statements


def revoke_public_sql(*, dbname: str) -> list[str]:
    """Return the statement after which only users who were granted the right can connect to a database.

    Raises:
        UnusableValueError: (a ValueError) the name is unusable.
    """
    return [f"REVOKE CONNECT ON DATABASE {quote_if_needed(check_name('database', dbname))} FROM PUBLIC;"]
