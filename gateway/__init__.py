"""The edge: who may ask, and how it travels."""
