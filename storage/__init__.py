"""PostgreSQL: the only room with SQL."""
