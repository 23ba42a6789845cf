"""The one error that the command line shows without a traceback."""


class ClusterError(Exception):
    """Something is wrong with the machine or the cluster; the message says what, where, and what to do."""
