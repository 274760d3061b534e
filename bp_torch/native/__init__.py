"""Torch operations printed as C++, with their own matrix products, and compiled for this CPU."""
