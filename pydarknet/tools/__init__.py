"""What the commands beside inference and training do: anchors, profile, summary, weights surgery."""
