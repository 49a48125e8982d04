"""Reinforcement learning of chains: what is read, what is rewarded, and what is learned from it."""
