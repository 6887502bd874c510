"""What travels: the messages, their encoding, and the channel they travel on."""
