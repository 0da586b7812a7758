"""From the socket to the thread that does the work.

Connections, bounds on bodies, who asks and whose turn it is, photos as they arrive.
"""
