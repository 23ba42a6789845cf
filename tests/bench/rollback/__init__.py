"""Seconds from the first failure of a new version until it gets no more requests: ours, Flagger and Argo Rollouts.

One embedded cluster, one model server, the same rows; callers ask 20 times a second.
"""
