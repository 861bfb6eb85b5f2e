"""`daysheet watch`: a date, live, in a terminal."""
