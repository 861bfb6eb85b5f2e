"""The only writer: takes a command, locks and loads its streams, lets the rules decide, seals, appends."""
