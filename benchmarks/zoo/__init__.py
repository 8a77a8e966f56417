"""Recipes for a model zoo's cards: captured in throw-away processes from a clone, proved by building them again."""
