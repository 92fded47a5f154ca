"""Composers: samplers that build objects move by move, in proportion to a reward."""
