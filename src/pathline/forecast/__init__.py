"""Forecasting: what will many sensors measure next, given what they measured until now."""
