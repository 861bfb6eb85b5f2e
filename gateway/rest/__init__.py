"""HTTP under /api/v1: one table of routes, problems as RFC 9457 has them, OpenAPI made from both."""
