"""Who among therapists forms good alliances, and what goes with it?"""
