"""The .cfg, .data and .names files: sections, dialects, names, editing."""
