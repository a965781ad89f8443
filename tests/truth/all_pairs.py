"""All similar pairs of a collection of sets, exactly."""

from __future__ import annotations

import collections
import math


def similar_pairs(sets: dict[int, frozenset[int]], similarity: float) -> dict[tuple[int, int], float]:
    """All pairs of at least that Jaccard similarity, with it; of a pair the one that comes first in ``sets`` is first.

    Two sets that are so alike share one of their rarest elements: of n elements, one of the n - ceil(s n) + 1 rarest
    (Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", WWW 2007).
    """
    frequency = collections.Counter(element for found in sets.values() for element in found)
    index: dict[int, list[int]] = collections.defaultdict(list)
    found = {}
    for document, elements in sets.items():
        rarest = sorted(elements, key=lambda element: (frequency[element], element))
        prefix = rarest[: len(rarest) - math.ceil(similarity * len(rarest)) + 1]
        for other in {other for element in prefix for other in index[element]}:
            smaller, larger = sorted((len(elements), len(sets[other])))
            if smaller >= similarity * larger:
                common = len(elements & sets[other])
                if common >= similarity * (smaller + larger - common):
                    found[other, document] = common / (smaller + larger - common)
        for element in prefix:
            index[element].append(document)
    return found
