"""DuckDB isolation backends for partywall: tenants' rows in embedded files, no server."""
