"""The cluster by hand: ``up`` starts it with all images, ``run COMMAND...`` runs a command in it, ``down`` ends it."""

from __future__ import annotations

import os
import sys

from tests.k8s.cluster import Cluster


def main(verb: str, *command: str) -> None:
    cluster = Cluster()
    match verb:
        case "up":
            from tests.k8s import parts

            cluster.up(image.archive for image in parts.images())
        case "down":
            cluster.down()
        case "run":
            entered = cluster.command(*command)
            os.execvp(entered[0], entered)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
