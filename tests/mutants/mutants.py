"""All mutants, promise by promise."""

from __future__ import annotations

from tests.mutants import (
    claims,
    data,
    flushes,
    index,
    index_queries,
    journals,
    labels,
    liveness,
    reach,
    saves,
    steps,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *saves.MUTANTS,
    *flushes.MUTANTS,
    *claims.MUTANTS,
    *liveness.MUTANTS,
    *data.MUTANTS,
    *index.MUTANTS,
    *index_queries.MUTANTS,
    *labels.MUTANTS,
    *reach.MUTANTS,
    *journals.MUTANTS,
    *steps.MUTANTS,
)
