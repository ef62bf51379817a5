"""Network files checked and changed."""
