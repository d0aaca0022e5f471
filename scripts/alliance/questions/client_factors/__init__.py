"""Which characteristics of clients go with the alliance?"""
