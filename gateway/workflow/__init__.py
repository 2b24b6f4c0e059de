"""What happens to a series after it is kept: completion, routing, actions, delivery."""
