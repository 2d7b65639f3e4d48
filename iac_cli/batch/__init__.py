"""An archive of studies: found, planned, scored in workers, kept in a ledger, told in tables."""
