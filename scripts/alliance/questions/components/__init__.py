"""Which components of the alliance go with the outcome, and when?"""
