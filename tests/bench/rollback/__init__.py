"""Seconds from the first bad answer of a new version until nobody asks it any more: ours, Flagger and Argo Rollouts.

One embedded cluster, one model server, the same rows; callers ask 20 times a second.
"""
