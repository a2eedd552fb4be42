"""The durable store under usage, quotas, lifecycle, placements, operations and audit."""
