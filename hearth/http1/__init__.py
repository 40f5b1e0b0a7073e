"""HTTP/1.1 over plain transports, both sides of it: a server's connections, and those to upstream servers.

It knows requests, responses, limits and deadlines, and nothing of what they are about.
"""
