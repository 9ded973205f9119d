"""List the parameters of libpq; needs no driver, but asks an installed one for names of newer versions."""

from __future__ import annotations

import functools

__all__ = ["LIBPQ_PARAMETERS", "is_known_to_libpq"]

# Parameters of libpq 13 to 18 (PostgreSQL manual, 34.1.2), and psycopg's `conninfo` for a whole connection string.
_NAMES = """
    application_name channel_binding client_encoding conninfo connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval
    krbsrvname load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_client_secret
    oauth_issuer oauth_scope options passfile password port replication require_auth requirepeer requiressl
    scram_client_key scram_server_key service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode
    sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni
    target_session_attrs tcp_user_timeout user
"""
LIBPQ_PARAMETERS = frozenset(_NAMES.split())


def is_known_to_libpq(name: str) -> bool:
    """Return whether libpq knows a parameter; an installed libpq is asked for names that are not listed here."""
    return name in LIBPQ_PARAMETERS or name in _installed_parameters()


@functools.cache
def _installed_parameters() -> frozenset[str]:
    try:
        import psycopg
    except ImportError:
        return frozenset()
    return frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())
