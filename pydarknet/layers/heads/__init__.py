"""Detection heads: decoding, targets, losses."""
