"""What only a hand-written backward pass can show."""
