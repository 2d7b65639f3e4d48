"""Sources of head anatomy: a procedural one, which needs no data, and real heads, changed."""
