"""What leaves the house: disclosure control of everything that is published. Stands above ``reports``; only scripts read it."""
