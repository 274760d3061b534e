"""The native engine: the step printed as C++, with its own matrix products, and compiled for this CPU."""
