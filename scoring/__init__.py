"""What is true of an account, and what it is worth."""
