"""Does the alliance add to early gains?"""
