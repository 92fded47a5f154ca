"""The room of populations that are seen at a few times only: carry one into the next."""
