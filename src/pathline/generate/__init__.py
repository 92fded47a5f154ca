"""The room `generate`: learn a law from samples of it, and draw new ones."""
