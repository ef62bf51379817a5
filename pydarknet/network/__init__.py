"""A network: layers built from a cfg, bound to memory, run forward; its weights file."""
