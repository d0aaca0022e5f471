"""Does empathy precede the alliance, and the alliance the outcome?"""
