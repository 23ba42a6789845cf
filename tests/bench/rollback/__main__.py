"""`python -m tests.bench.rollback`: brings the cluster up, and goes on inside of its node's network.

From there pods and Services are asked as a pod would ask them, without a relay. Nothing can be built or fetched in there.
"""

from __future__ import annotations

import os
import sys

from tests.bench.rollback import options, programs
from tests.support.cluster import ensure_cluster, services


def main() -> None:
    chosen = options.parse()
    cluster = ensure_cluster(nodes=1, images=True)
    if cluster.provider != "embedded":
        sys.exit("this runs in a node's network, and so needs the embedded cluster: CLUSTER=embedded")
    cluster.binary("helm")
    if not chosen.ours:
        programs.prepare(cluster)
    words = [*services.enter(cluster.layout, 0), sys.executable, "-m", "tests.bench.rollback.inside", *sys.argv[1:]]
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
