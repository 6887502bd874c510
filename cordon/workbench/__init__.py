"""What an analyst works with: a session, its answers, what can be concluded from them, and pictures of them."""
