"""What leaves the house: results that give nobody away, and the bundle that holds them. Stands above ``reports``; only scripts read it."""
