"""`daysheet serve --demo`: a made-up hospital that lives through the same commands as a real one.

names.py     what people are called, in many cultures and scripts
people.py    who they are: staff, and patients as their doctors see them
morning.py   what has happened since the clinics began: a pure plan for whatever hour it is
beat.py      what happens next: one decision about the board as it is
hospital.py  carries both out at the desk
"""

from __future__ import annotations
