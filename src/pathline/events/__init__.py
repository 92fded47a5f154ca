"""Events: who will meet whom next, given a stream of contacts until now."""
