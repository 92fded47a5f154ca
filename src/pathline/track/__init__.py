"""The room of agents that move through space: where will they be?"""
