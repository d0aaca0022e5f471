"""Does the alliance predict the outcome?"""
