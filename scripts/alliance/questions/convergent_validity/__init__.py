"""Do the measures of the alliance measure the same thing?"""
