"""What is kept on disk of a network and its training."""
