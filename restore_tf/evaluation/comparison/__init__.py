"""Several networks on the same pictures: scores, intervals, costs, and the report."""
