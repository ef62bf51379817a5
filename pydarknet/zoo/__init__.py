"""Published weights, fetched by name."""
