"""What may happen: pure rules, without clock, id, randomness or I/O."""
