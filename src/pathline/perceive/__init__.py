"""Perceive motion through sensors: what moved, when, and where to?"""
