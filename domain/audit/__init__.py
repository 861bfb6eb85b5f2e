"""Who looked: the record of reads of patient data, a second log of the same kind as the first."""
