"""Observe, plan and apply the declared indexes, materialized views and statistics of one PostgreSQL database."""
