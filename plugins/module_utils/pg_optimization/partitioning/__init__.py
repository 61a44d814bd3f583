"""Observe, plan and apply: one live table becomes partitioned by month, without a failing statement."""
