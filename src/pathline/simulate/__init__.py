"""Simulate bodies that act on each other: where will they be after the next step, and after many?"""
