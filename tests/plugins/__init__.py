"""PostgreSQL for the tests of any project: server binaries, servers, poolers, and fixtures for them."""
