"""How the alliance goes on over sessions."""
