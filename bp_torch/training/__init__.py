"""Training: the step, the engines that run it, and the loop around them."""
