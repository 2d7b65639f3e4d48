"""Sources of head anatomy. Today one, procedural, which ships in the wheel and needs no data."""
