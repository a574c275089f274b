"""Cases whose claim does not hold yet, by what must be mended; a mended case must leave this list.

Other such cases carry their `fault` where they are made.
"""

FAULTS: dict[str, str] = {}
# Where stripped copies are made.
FAULTS_OF_STRIPPING: dict[str, str] = {}
