"""Tools around networks: anchors, profile, summary, checks of cfg files, surgery on weights files."""
