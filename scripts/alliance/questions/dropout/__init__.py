"""Does a poor alliance foretell dropout?"""
