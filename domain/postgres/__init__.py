"""The database server: the one that comes along, its roles, and what is demanded of any."""
