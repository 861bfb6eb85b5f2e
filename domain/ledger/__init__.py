"""What proves the record: a Merkle tree over its stored rows, signed checkpoints, and the check of it all."""
