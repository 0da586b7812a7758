"""What a sorting line is: cameras over a belt, references, ejectors, lanes; and what is said about a piece.

The simulator, the client that streams and the service that decides share these words.
"""
