"""PostgreSQL for the tests of any project: server binaries, servers, poolers, and fixtures that hand them out."""
