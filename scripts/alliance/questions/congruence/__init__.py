"""How far client and therapist agree, and whether it matters."""
