"""The room of users and items: recommend what a user does not have yet and will like."""
