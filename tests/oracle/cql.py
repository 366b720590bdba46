"""Executes one statement.

    python cql.py --cassandra HOST:PORT --execute STATEMENT
"""

from __future__ import annotations

import argparse

from compare import address
from tables import connected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cassandra", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--execute", required=True, metavar="STATEMENT")
    arguments = parser.parse_args()
    with connected(arguments.cassandra) as session:
        session.execute(arguments.execute, timeout=60)


if __name__ == "__main__":
    main()
