"""Tests that do not run behind a pooler, and why."""

from __future__ import annotations

__all__ = ["NOT_POOLED"]

_OPTIONS = "it sets the parameter options, which a pooler refuses"
_SESSIONS = "it counts the server's sessions, which are the pooler's"
_USERS = "a pooler refuses users that it does not know in words of its own"
_BEGIN = "it changes what holds for new sessions, and a pooler has some that began before"

# By the names of the functions, or of tests with their parameters.
NOT_POOLED = {
    "test_a_missing_database_or_role_says_how_to_create_it": _USERS,
    "test_a_user_whom_the_server_does_not_know_is_denied_access": _USERS,
    "test_a_mistake_raises_its_own_error_that_shows_the_value[postgres-DatabaseLockedError-db]": _OPTIONS,
    "test_a_reader_keeps_no_writer_waiting": _OPTIONS,
    "test_threads_share_the_client_of_a_tracked_run": _SESSIONS,
    "test_who_finds_no_connection_waits_for_one": _USERS,
    "test_who_finds_no_connection_for_too_long_hears_why": _USERS,
    "test_a_kept_connection_is_closed_when_the_run_stops": _SESSIONS,
    "test_sessions_that_are_ended_again_and_again_cost_no_rows": "it ends the server's sessions with psycopg alone",
    "test_a_database_of_a_server_that_may_only_be_read_is_an_error_that_says_so": _BEGIN,
    "test_a_role_without_privileges_is_an_error_that_says_so": _BEGIN,
    "test_a_database_that_can_only_be_read_is_a_problem": _BEGIN,
    "test_after_revoke_nothing_remains": _BEGIN,
    "test_idle_transactions_that_lock_metrics_are_noted": "it asks psycopg for the number of the server's process",
    "test_a_schema_that_does_not_exist_is_a_problem": "the pooler is noted as well",
    "test_a_pooler_that_refuses_options_is_noted": "it has a pooler of its own",
    "test_a_pooler_that_looks_like_a_server_is_known_by_the_options_that_it_refuses": "it has a pooler of its own",
    "test_a_search_path_that_leads_nowhere_is_a_problem": _OPTIONS,
    "test_a_schema_that_cannot_be_locked_or_created_is_a_clear_error": _OPTIONS,
    "test_what_the_server_has_said_meanwhile_tells_whether_a_connection_is_used_again": "it has a proxy of its own",
    "test_a_block_begins_on_a_new_connection_if_the_server_has_ended_the_kept_one": (
        "it asks psycopg for the number of the server's process"
    ),
}
