"""Sheets to go on with by paper: a date as it was a moment ago, ready to be printed when nothing else works."""
