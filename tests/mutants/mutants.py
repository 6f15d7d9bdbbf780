"""All mutants, promise by promise."""

from __future__ import annotations

from tests.mutants import asking, holding, judging, keeping, listing, saving
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *saving.MUTANTS,
    *holding.MUTANTS,
    *judging.MUTANTS,
    *keeping.MUTANTS,
    *listing.MUTANTS,
    *asking.MUTANTS,
)
