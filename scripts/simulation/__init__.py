"""scripts/simulate: a believable day of a hospital of any size, from a seed, through the public HTTP API alone.

roster.py      who works there and who is coming: all that is settled before anything happens
hospital.py    the hospital as the plan sees it: lists, lines, simulated time
reception.py   what patients and the front desk do
consulting.py  what doctors do
plan.py        plan(seed, doctors, patients, day): the timed steps of a whole day. Pure, as is all above
client.py      the HTTP client
run.py         walks the plan against a server, and lives with what it answers
statistics.py  what was measured, and whether the board says at the end what it must
"""
