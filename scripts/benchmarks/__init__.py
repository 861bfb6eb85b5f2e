"""Daysheet's speed and size, beside those of its peers."""
